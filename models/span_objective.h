// A SpanObjective asks of every sequence at which of its tokens an answer begins, and at which it ends. The head gives
// two logits a row, z [N, 2] (models/span_head.h).
//   loss = sum over sequences and both columns of the cross entropy over the sequence's tokens, with the weights that
//          the batch's spans give (kernels/losses/segment_cross_entropy.h)
//        + mask_weight times the loss of which tokens lie between the two (kernels/losses/span_mask_loss.h)
// A teacher's logits add to the gradients (kernels/losses/segment_soft_cross_entropy.h). dz is the sum of all three
// gradients. The mask and the teacher count where gradients are taken, not in evaluations.
#pragma once

#include "models/objective.h"

namespace engine {

class SpanObjective final : public ScoreObjective {
 public:
  // The model's head has two outputs (add_span_outputs). A batch must have `covered` where mask_weight is above 0.
  explicit SpanObjective(const Model& model, float mask_weight = 0)
      : ScoreObjective(model), mask_weight_(mask_weight) {}
  bool reads_all_rows() const override { return true; }
  // A batch without spans has no loss, only the logits that the request wants.
  void score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) override;

 private:
  void add_mask_loss(const Pass& pass, const Tensor& logits, const DeviceBatch& batch, const LossRequest& request,
                     const Tensor& dlogits) const;

  float mask_weight_;
};

}  // namespace engine
