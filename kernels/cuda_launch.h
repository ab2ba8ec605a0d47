// How kernels are started: one function, every start checked; and the operation that is running, which errors name.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "core/cuda_device.h"
#include "core/tensor.h"

namespace engine::cuda {

// The operation that this thread is running, while it lives: an NVTX range of its name, and what an error tells.
class Operation {
 public:
  Operation(const char* name, std::initializer_list<Tensor> tensors);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  std::string text() const;  // "layernorm_forward of [3, 5] f32, ..."

 private:
  const char* name_;
  const Operation* outer_;
  std::array<Tensor, 8> tensors_;
  size_t count_ = 0;
};

// Throws an Error that names the running operation, its shapes and the device, where `code` is not success.
void check_launch(cudaError_t code);
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
}

}  // namespace engine::cuda
