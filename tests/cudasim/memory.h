// Memory of the simulated device: regions that the host may not touch but inside copies and kernels, filled with NaNs
// (bytes 0xff) when they are had.
#pragma once

#include <cstddef>

#include <cuda_runtime.h>

namespace cudasim {

// While it lives, the device's memory can be accessed: work of a stream is being done.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

// How much the device has: 4 GiB, or as many MiB as the variable CUDASIM_MEMORY says.
size_t total_memory();
size_t free_memory();
// Whether all of these bytes lie in memory that was mapped.
bool is_device_memory(const void* data, size_t bytes);

// In the order of the stream's work: these bytes of an arena that begins at `base` and has `mapped` bytes are handed
// out anew. They hold NaNs, and those beyond them belong to nobody (the address sanitizer knows).
void hand_out(void* base, size_t from, size_t to, size_t mapped, cudaStream_t stream);

}  // namespace cudasim
