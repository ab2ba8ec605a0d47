// A backend around others: every operation arrives at one template, Derived::run(name, args, method).
#pragma once

#include "kernels/ops.h"

namespace engine {

// `method` is the operation's: (ops.*method)(args) runs it on a backend. What packs matrices is left to Derived.
template <class Derived>
class WrappedOps : public Ops {
 public:
  void matmul(const MatmulArgs& a) override { self().run("matmul", a, &Ops::matmul); }
  void activation_forward(const ActivationForwardArgs& a) override {
    self().run("activation_forward", a, &Ops::activation_forward);
  }
  void activation_backward(const ActivationBackwardArgs& a) override {
    self().run("activation_backward", a, &Ops::activation_backward);
  }
  void embedding_forward(const EmbeddingForwardArgs& a) override {
    self().run("embedding_forward", a, &Ops::embedding_forward);
  }
  void embedding_backward(const EmbeddingBackwardArgs& a) override {
    self().run("embedding_backward", a, &Ops::embedding_backward);
  }
  void layernorm_forward(const LayerNormForwardArgs& a) override {
    self().run("layernorm_forward", a, &Ops::layernorm_forward);
  }
  void layernorm_backward(const LayerNormBackwardArgs& a) override {
    self().run("layernorm_backward", a, &Ops::layernorm_backward);
  }
  void attention_forward(const AttentionForwardArgs& a) override {
    self().run("attention_forward", a, &Ops::attention_forward);
  }
  void attention_backward(const AttentionBackwardArgs& a) override {
    self().run("attention_backward", a, &Ops::attention_backward);
  }
  void cross_entropy(const CrossEntropyArgs& a) override { self().run("cross_entropy", a, &Ops::cross_entropy); }
  void soft_cross_entropy(const SoftCrossEntropyArgs& a) override {
    self().run("soft_cross_entropy", a, &Ops::soft_cross_entropy);
  }
  void cosine_loss(const CosineLossArgs& a) override { self().run("cosine_loss", a, &Ops::cosine_loss); }
  void gather_rows(const RowsArgs& a) override { self().run("gather_rows", a, &Ops::gather_rows); }
  void scatter_rows(const RowsArgs& a) override { self().run("scatter_rows", a, &Ops::scatter_rows); }
  void segment_mean_forward(const SegmentMeanForwardArgs& a) override {
    self().run("segment_mean_forward", a, &Ops::segment_mean_forward);
  }
  void segment_mean_backward(const SegmentMeanBackwardArgs& a) override {
    self().run("segment_mean_backward", a, &Ops::segment_mean_backward);
  }
  void dropout(const DropoutArgs& a) override { self().run("dropout", a, &Ops::dropout); }
  void sample(const SampleArgs& a) override { self().run("sample", a, &Ops::sample); }
  void rank(const RankArgs& a) override { self().run("rank", a, &Ops::rank); }
  void copy(const CopyArgs& a) override { self().run("copy", a, &Ops::copy); }
  void lerp(const LerpArgs& a) override { self().run("lerp", a, &Ops::lerp); }
  void adamw(const AdamWArgs& a) override { self().run("adamw", a, &Ops::adamw); }
  void sum_of_squares(const SumOfSquaresArgs& a) override { self().run("sum_of_squares", a, &Ops::sum_of_squares); }

 private:
  Derived& self() { return static_cast<Derived&>(*this); }
};

}  // namespace engine
