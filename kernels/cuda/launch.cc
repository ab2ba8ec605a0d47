#include "kernels/cuda/launch.h"

#include <algorithm>
#include <map>

#include "kernels/sizes.h"

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

unsigned threads_of_row(int64_t elements, int64_t each) {
  constexpr int64_t warp = 32, most = 1024;
  return static_cast<unsigned>(rounded_up(std::clamp<int64_t>(ceil_div(elements, each), 1, most), warp));
}

void wait_if_synchronous(cudaStream_t stream) {
  if (!is_synchronous) [[likely]]
    return;
  cudaStreamCaptureStatus status{};
  check_launch(cudaStreamIsCapturing(stream, &status));
  if (status != cudaStreamCaptureStatusNone) return;
  const cudaError_t code = cudaStreamSynchronize(stream);
  forget_started_operations();  // only this one can have failed
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
