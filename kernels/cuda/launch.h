// Starts kernels. Every start goes through launch(), is checked, and names the running operation in its errors.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "core/cuda/device.h"
#include "core/cuda/operation.h"

namespace engine::cuda {

// Throws an Error that names the running operation, its shapes and the device, where `code` is not success.
void check_launch(cudaError_t code);
// Sets the option `synchronous` of this process. Every start is then waited for, so that an error names its operation.
void set_synchronous(bool synchronous);
// Waits for the stream after a start where the process is synchronous, unless the stream is being captured.
void wait_if_synchronous(cudaStream_t stream);
// Allows a kernel dynamic shared memory beyond 48 KiB.
void allow_shared_memory(const void* kernel, size_t bytes);

// Returns a grid of so many blocks. Throws an Error that names the running operation where no device takes as many.
dim3 blocks(int64_t x, int64_t y = 1, int64_t z = 1);

// Returns the threads of a block for a row of `elements`, `each` a thread: whole warps, at most 1024 threads.
unsigned threads_of_row(int64_t elements, int64_t each);

// Starts `kernel` with dynamic shared memory of `shared` bytes. Does nothing for a grid of no blocks.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared, cudaStream_t stream,
            Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared > (48 << 10)) allow_shared_memory(reinterpret_cast<const void*>(kernel), shared);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  check_launch(cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Arguments>(arguments))...));
  wait_if_synchronous(stream);
}

}  // namespace engine::cuda
