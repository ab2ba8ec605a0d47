// Says whether there is a CUDA device, without CUDA's headers.
#pragma once

#include <string>

namespace engine::cuda {

// Says whether this program can use a GPU, and if not, the reason in one line.
struct Presence {
  bool exists = false;  // there is a GPU
  std::string problem;  // empty if it can be used
};
Presence find_device(int index = 0);
int device_count();  // GPUs that this process sees
// Returns, for `info`, name, compute capability, multiprocessors, memory, and versions of driver and runtime.
std::string describe_device(int index = 0);

// Says why NCCL, which several ranks on GPUs need, cannot be used; empty where it can.
std::string nccl_problem();
// Returns "NCCL 2.28.9".
std::string nccl_description();

}  // namespace engine::cuda
