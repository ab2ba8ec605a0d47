// The CUDA backend. Every file in a family's folder cuda defines its family's methods of this class: kernels above,
// launchers below. All operations run on the compute stream, in the order they are called, so the workspace of one is
// free for the next.
#pragma once

#include <memory>

#include "core/arena.h"
#include "core/cuda/device.h"
#include "kernels/backend/device_options.h"
#include "kernels/cuda/graphs.h"
#include "kernels/ops.h"

namespace engine::cuda {

class CudnnAttention;  // cuDNN's attention, where it is asked for (attention/cuda/cudnn_attention.h)
class MatrixProducts;  // who multiplies, cuBLASLt's handle and chosen algorithms (matmul/cuda/matmul.h)

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
  MatrixProducts& products();  // for operations that multiply matrices with strides

  const DeviceOptions options_;
  Device device_;
  Arena workspace_{device_.memory()};  // scratch of one operation, taken inside an ArenaScope
  std::unique_ptr<MatrixProducts> products_;
  std::unique_ptr<CudnnAttention> cudnn_;  // null where it is not asked for
  StepGraphs graphs_;
};

}  // namespace engine::cuda
