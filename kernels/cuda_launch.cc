#include "kernels/cuda_launch.h"

#include <map>

namespace engine::cuda {

namespace {

bool is_synchronous = false;

}  // namespace

void set_synchronous(bool synchronous) { is_synchronous = synchronous; }

void check_launch(cudaError_t code) {
  if (code == cudaSuccess) [[likely]]
    return;
  const std::string operation = running_operation();
  check(code, operation.empty() ? "a kernel" : operation.c_str());
}

void wait_if_synchronous(cudaStream_t stream) {
  if (!is_synchronous) [[likely]]
    return;
  cudaStreamCaptureStatus status{};
  check_launch(cudaStreamIsCapturing(stream, &status));
  if (status != cudaStreamCaptureStatusNone) return;
  const cudaError_t code = cudaStreamSynchronize(stream);
  forget_started_operations();  // it can only be this one
  check_launch(code);
}

void allow_shared_memory(const void* kernel, size_t bytes) {
  static std::map<const void*, size_t> allowed;
  size_t& most = allowed[kernel];
  if (bytes <= most) return;
  check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  most = bytes;
}

}  // namespace engine::cuda
