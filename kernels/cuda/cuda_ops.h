// The CUDA backend. Every file in a family's folder cuda defines the family's methods of this class, kernels above and
// launchers below. All operations run on the compute stream, in the order of their calls, so that one operation's
// workspace is free for the next.
#pragma once

#include <memory>

#include "core/arena.h"
#include "core/cuda/device.h"
#include "kernels/backend/device_options.h"
#include "kernels/cuda/graphs.h"
#include "kernels/ops.h"

namespace engine::cuda {

class CudnnAttention;  // attention/cuda/cudnn_attention.h
class MatrixProducts;  // matmul/cuda/matmul.h

class CudaOps final : public Ops {
 public:
  explicit CudaOps(const DeviceOptions& options);
  ~CudaOps() override;
  Memory& memory() override { return device_.memory(); }
  void run_captured(uint64_t shapes, const std::function<void()>& work) override {
    if (options_.synchronous) work();
    else graphs_.run(device_, shapes, work);
  }

  size_t packed_bytes(int64_t k, int64_t n, DType compute) override;
  ENGINE_OPERATIONS(ENGINE_OVERRIDE)

 private:
  cudaStream_t stream() const { return device_.compute_stream(); }
  MatrixProducts& products();  // made at the first product
  void attention_backward_adding(const AttentionBackwardArgs& args, int64_t width);

  const DeviceOptions options_;
  Device device_{options_.gpu};
  Arena workspace_{device_.memory()};  // scratch of one operation, inside an ArenaScope
  std::unique_ptr<MatrixProducts> products_;
  std::unique_ptr<CudnnAttention> cudnn_;  // null where our own kernels do everything
  StepGraphs graphs_;
};

}  // namespace engine::cuda
