// Starts kernels. Every start goes through launch(), is checked, and names the running operation in its errors.
#pragma once

#include <cuda_runtime.h>

#include <tuple>
#include <utility>

#include "core/cuda/device.h"
#include "core/cuda/operation.h"
#include "core/cuda/recording.h"

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

// Adds a start to a recording.
template <class... Parameters>
void record(Recording& recording, void (*kernel)(Parameters...), const cudaLaunchConfig_t& config,
            const Parameters&... parameters) {
  // A tuple holds the parameters, since gcc 12 spoils a capture of the pack under -ftrivial-auto-var-init=pattern.
  const auto start = [config, kernel, held = std::tuple<Parameters...>(parameters...)] {
    const auto call = [&](const Parameters&... each) {
      return cudaLaunchKernelEx(&config, kernel, Parameters(each)...);
    };
    check_launch(std::apply(call, held));
  };
  const dim3 grid = config.gridDim;
  recording.add(start, kernel, grid.x, grid.y, grid.z, config.blockDim.x, config.dynamicSmemBytes, parameters...);
}

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
  if (Recording* const recording = Recording::running())
    return record(*recording, kernel, config, Parameters(std::forward<Arguments>(arguments))...);
  check_launch(cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Arguments>(arguments))...));
  wait_if_synchronous(stream);
}

}  // namespace engine::cuda
