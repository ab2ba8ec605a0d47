// A SpanObjective asks of every sequence at which of its tokens an answer begins, and at which it ends.
//   logits = W features + b, [N, 2];  loss = the sum over sequences and both columns of the cross entropy over the
//   sequence's tokens (kernels/losses/segment_cross_entropy.h), with the weights that the batch's spans give
#pragma once

#include "models/objective.h"

namespace engine {

class SpanObjective final : public Objective {
 public:
  // The model's head has two outputs (add_span_outputs).
  explicit SpanObjective(const Model& model) : head_(model.head()) {}
  bool reads_all_rows() const override { return true; }
  // A batch without spans has no loss, only the logits that the request wants.
  Tensor run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) override;

 private:
  const Head& head_;
};

}  // namespace engine
