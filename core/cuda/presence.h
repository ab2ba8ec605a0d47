// Says whether there is a CUDA device, without CUDA's headers.
#pragma once

#include <string>

namespace engine::cuda {

// Says whether this program can use a device, and if not, the reason in one line.
struct Presence {
  bool exists = false;  // there is a GPU
  std::string problem;  // empty if it can be used
};
Presence find_device();
// Returns, for `info`, name, compute capability, multiprocessors, memory, and versions of driver and runtime.
std::string describe_device();

}  // namespace engine::cuda
