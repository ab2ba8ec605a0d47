#include "kernels/cuda_launch.h"

#include <nvtx3/nvToolsExt.h>

#include <map>

namespace engine::cuda {

namespace {

thread_local const Operation* running = nullptr;

std::string running_text() { return running ? running->text() : "a kernel"; }

}  // namespace

Operation::Operation(const char* name, std::initializer_list<Tensor> tensors) : name_(name), outer_(running) {
  for (const Tensor& tensor : tensors)
    if (count_ < tensors_.size()) tensors_[count_++] = tensor;
  running = this;
  nvtxRangePushA(name);
}

Operation::~Operation() {
  nvtxRangePop();
  running = outer_;
}

std::string Operation::text() const {
  std::string text = name_;
  for (size_t i = 0; i < count_; ++i)
    if (tensors_[i]) text += (i ? ", " : " of ") + tensors_[i].shape.text() + " " + name_of(tensors_[i].dtype);
  return text;
}

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

void allow_shared_memory(const void* kernel, size_t bytes) {
  static std::map<const void*, size_t> allowed;
  size_t& most = allowed[kernel];
  if (bytes <= most) return;
  check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  most = bytes;
}

}  // namespace engine::cuda
