#include "models/span_objective.h"

namespace engine {

void SpanObjective::score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) {
  const Pass& pass = rows.pass;
  SpanHead::Saved saved;
  const Tensor logits = request.logits ? request.logits : pass.arena.make(DType::f32, {rows.features.rows(), 2});
  head_.project(pass, rows.features, logits, saved);
  const Tensor dlogits = request.gradients ? pass.arena.make(DType::f32, logits.shape) : Tensor{};
  if (batch.spans)
    pass.ops.segment_cross_entropy({.logits = logits,
                                    .segments = batch.layout.segments,
                                    .targets = batch.spans,
                                    .totals = request.totals,
                                    .row_losses = request.row_losses,
                                    .gradient_scale = request.gradient_scale,
                                    .dlogits = dlogits});
  if (!request.gradients) return;
  require(static_cast<bool>(batch.spans), "a batch without spans has no gradients");
  if (mask_weight_ > 0) add_mask_loss(pass, logits, batch, request, dlogits);
  if (request.soft.logits)
    pass.ops.segment_soft_cross_entropy({.logits = logits,
                                         .segments = batch.layout.segments,
                                         .targets = request.soft.logits,
                                         .temperature = request.soft.temperature,
                                         .totals = request.soft.totals,
                                         .gradient_scale = request.soft.gradient_scale,
                                         .dlogits = dlogits});
  head_.project_backward(pass, logits, dlogits, rows.features, saved, rows.dfeatures);
}

void SpanObjective::add_mask_loss(const Pass& pass, const Tensor& logits, const DeviceBatch& batch,
                                  const LossRequest& request, const Tensor& dlogits) const {
  require(static_cast<bool>(batch.covered), "a batch without the mask of answers has no loss of it");
  Tensor total = request.totals;
  total.shape = {1};
  pass.ops.span_mask_loss({.logits = logits,
                           .segments = batch.layout.segments,
                           .mask = batch.covered,
                           .weight = mask_weight_,
                           .total = total,
                           .gradient_scale = request.gradient_scale,
                           .dlogits = dlogits});
}

}  // namespace engine
