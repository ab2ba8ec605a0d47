// How kernels are started: one function, every start checked, with the operation that is running in its errors.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "core/cuda/device.h"
#include "core/cuda/operation.h"

namespace engine::cuda {

// Throws an Error that names the running operation, its shapes and the device, where `code` is not success.
void check_launch(cudaError_t code);
// The option `synchronous`, of this process: every start is waited for, so that what fails is named.
void set_synchronous(bool synchronous);
// To be called after a start: then waits for the stream, unless it is being captured.
void wait_if_synchronous(cudaStream_t stream);
// More than 48 KiB of shared memory has to be asked for once a kernel.
void allow_shared_memory(const void* kernel, size_t bytes);

// A grid of so many blocks; an Error that names the running operation where no device takes as many.
dim3 blocks(int64_t x, int64_t y = 1, int64_t z = 1);

// Starts `kernel` with dynamic shared memory of `shared` bytes; a grid of no blocks is nothing to do.
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
