#include "models/span_objective.h"

namespace engine {

Tensor SpanObjective::run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) {
  const OutputRows all_rows;
  HeadPass rows(pass, head_, hidden, all_rows, request.gradients);
  const Tensor logits = request.logits ? request.logits : pass.arena.make(DType::f32, {rows.features.rows(), 2});
  head_.project(pass, rows.features, logits);
  const Tensor dlogits = request.gradients ? pass.arena.make(DType::f32, logits.shape) : Tensor{};
  if (batch.spans)
    pass.ops.segment_cross_entropy({.logits = logits,
                                    .segments = batch.layout.segments,
                                    .targets = batch.spans,
                                    .totals = request.totals,
                                    .row_losses = request.row_losses,
                                    .gradient_scale = request.gradient_scale,
                                    .dlogits = dlogits});
  if (!request.gradients) return {};
  require(static_cast<bool>(batch.spans), "a batch without spans has no gradients");
  Linear outputs;
  outputs.weight = head_.projection;
  outputs.bias = head_.bias;
  outputs.backward(rows.pass, dlogits, rows.features, rows.dfeatures);
  return rows.backward();
}

}  // namespace engine
