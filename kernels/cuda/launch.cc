#include "kernels/cuda/launch.h"

#include <map>

namespace engine::cuda {

namespace {

bool is_synchronous = false;

std::string running_text() {
  const std::string operation = running_operation();
  return operation.empty() ? "a kernel" : operation;
}

}  // namespace

void set_synchronous(bool synchronous) { is_synchronous = synchronous; }

void check_launch(cudaError_t code) {
  if (code != cudaSuccess) [[unlikely]]
    check(code, running_text().c_str());
}

dim3 blocks(int64_t x, int64_t y, int64_t z) {
  constexpr int64_t most_x = 0x7fffffff, most = 65535;
  if (x > most_x || y > most || z > most) [[unlikely]]
    fail(running_text(), ": a grid of ", x, " x ", y, " x ", z, " blocks, at most ", most_x, " x ", most, " x ", most);
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
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
