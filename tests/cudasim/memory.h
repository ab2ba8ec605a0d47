// Memory of the simulated device. The host may not touch it outside of copies and kernels. It is filled with NaNs
// (bytes 0xff) at first.
#pragma once

#include <cstddef>

#include <cuda_runtime.h>

namespace cudasim {

// Opens the device's memory while it lives, for a stream's work.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

// Returns the device's size: 4 GiB, or as many MiB as the variable CUDASIM_MEMORY says.
size_t total_memory();
size_t free_memory();
// Returns whether all of these bytes lie in mapped memory.
bool is_device_memory(const void* data, size_t bytes);

// Hands out these bytes of an arena that begins at `base` and has `mapped` bytes, in the order of the stream's work.
// They hold NaNs, and the address sanitizer knows that those beyond them belong to no tensor.
void hand_out(void* base, size_t from, size_t to, size_t mapped, cudaStream_t stream);

}  // namespace cudasim
