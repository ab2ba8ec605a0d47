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

  void matmul(const MatmulArgs&) override;
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override;
  void pack_matrix(const PackArgs&) override;
  void activation_forward(const ActivationForwardArgs&) override;
  void activation_backward(const ActivationBackwardArgs&) override;
  void embedding_forward(const EmbeddingForwardArgs&) override;
  void embedding_backward(const EmbeddingBackwardArgs&) override;
  void layernorm_forward(const LayerNormForwardArgs&) override;
  void layernorm_backward(const LayerNormBackwardArgs&) override;
  void attention_forward(const AttentionForwardArgs&) override;
  void attention_backward(const AttentionBackwardArgs&) override;
  void cross_entropy(const CrossEntropyArgs&) override;
  void soft_cross_entropy(const SoftCrossEntropyArgs&) override;
  void cosine_loss(const CosineLossArgs&) override;
  void gather_rows(const RowsArgs&) override;
  void scatter_rows(const RowsArgs&) override;
  void segment_mean_forward(const SegmentMeanForwardArgs&) override;
  void segment_mean_backward(const SegmentMeanBackwardArgs&) override;
  void sample(const SampleArgs&) override;
  void rank(const RankArgs&) override;
  void copy(const CopyArgs&) override;
  void lerp(const LerpArgs&) override;
  void dropout(const DropoutArgs&) override;
  void adamw(const AdamWArgs&) override;
  void sum_of_squares(const SumOfSquaresArgs&) override;

 private:
  cudaStream_t stream() const { return device_.compute_stream(); }
  MatrixProducts& products();  // made at the first product

  const DeviceOptions options_;
  Device device_;
  Arena workspace_{device_.memory()};  // scratch of one operation, inside an ArenaScope
  std::unique_ptr<MatrixProducts> products_;
  std::unique_ptr<CudnnAttention> cudnn_;  // null where our own kernels do everything
  StepGraphs graphs_;
};

}  // namespace engine::cuda
