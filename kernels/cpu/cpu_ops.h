// The CPU backend. Every file in a folder cpu is compiled once for each instruction set, in a namespace of its own
// (ENGINE_ISA: generic, avx2, avx512), and defines its family's methods of this class; backend.cc picks one when the
// program starts.
#pragma once

#include <memory>

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

class CpuOps : public Ops {
 public:
  // With so many bytes for scratch; 0: as many as there are.
  explicit CpuOps(size_t scratch = 0) : workspace_(host_memory(), scratch) {}
  Memory& memory() override { return host_memory(); }
  std::unique_ptr<Ops> another(int parts) override {
    return std::make_unique<CpuOps>(host_memory().capacity() / static_cast<size_t>(parts));
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
  // Scratch of one operation (packed operands, a chunk of logits, partial sums): taken inside an ArenaScope.
  Arena workspace_;
};

}  // namespace engine::ENGINE_ISA
