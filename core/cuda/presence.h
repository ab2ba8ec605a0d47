// Whether there is a CUDA device, without CUDA's headers.
#pragma once

#include <string>

namespace engine::cuda {

// Whether there is a device that this program can use; if not, why, in one line.
struct Presence {
  bool exists = false;  // a GPU is there
  std::string problem;  // empty where it can be used
};
Presence find_device();
// For `info`: name, compute capability, multiprocessors, memory, and the versions of driver and runtime.
std::string describe_device();

}  // namespace engine::cuda
