#include "models/objective.h"

namespace engine {

void run_objective(Pass& pass, Model& model, Objective& objective, const DeviceBatch& batch, const LossRequest& request,
                   Model::Saved& saved) {
  const ArenaScope scope(pass.arena);
  pass.layout = batch.layout;
  pass.source = batch.source;
  pass.outputs = objective.reads_all_rows() ? OutputRows{} : batch.outputs;
  const Tensor hidden = model.hidden_states(pass, batch.tokens, saved);
  const Tensor dhidden = objective.run(pass, hidden, batch, request);
  if (!request.gradients) return;
  const Embedded dx = model.trunk_backward(pass, dhidden, saved);
  model.embed_backward(pass, batch.tokens, dx);
}

HeadPass::HeadPass(Pass& whole, const Head& head_of, const Tensor& hidden, const OutputRows& outputs, bool gradients)
    : pass(whole.over(outputs)),
      head(head_of),
      outputs_(outputs),
      shape_(hidden.shape),
      rows_(output_rows(whole, hidden, outputs.index)) {
  features = head.forward(pass, rows_, saved_);
  if (gradients) dfeatures = pass.arena.make(pass.compute, features.shape);
}

Tensor HeadPass::backward() {
  const Tensor drows = head.backward(pass, dfeatures, rows_, saved_);
  if (rows_.rows() == Tensor{nullptr, DType::f32, shape_}.rows()) return drows;
  const Tensor dhidden = pass.arena.make_zeros(drows.dtype, shape_);
  pass.ops.scatter_rows({.x = drows, .index = outputs_.index, .y = dhidden});
  return dhidden;
}

Tensor ScoreObjective::run(Pass& pass, const Tensor& hidden, const DeviceBatch& batch, const LossRequest& request) {
  const OutputRows scored = rows_of(batch);
  HeadPass rows(pass, head_, hidden, scored, request.gradients);
  score(rows, batch, request);
  return request.gradients ? rows.backward() : Tensor{};
}

void CrossEntropyObjective::score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) {
  const Pass& pass = rows.pass;
  Gradients* const gradients = request.gradients ? pass.gradients : nullptr;
  pass.ops.cross_entropy({.x = rows.features,
                          .weight = head_.projection->factor(pass.compute),
                          .bias = head_.bias_values(),
                          .labels = batch.labels,
                          .row_weights = batch.weights,
                          .penalties = request.gradients ? batch.penalties : Tensor{},
                          .penalised_token = thought_,
                          .label_smoothing = request.gradients ? label_smoothing_ : 0,
                          .compute = pass.compute,
                          .totals = request.totals,
                          .row_losses = request.row_losses,
                          .ranks = request.ranks,
                          .ranked_token = request.ranked_token,
                          .likeliest = request.likeliest,
                          .gradient_scale = request.gradient_scale,
                          .dx = rows.dfeatures,
                          .dweight = gradients ? gradients->sum(*head_.projection) : Tensor{},
                          .dbias = gradients && head_.bias ? gradients->sum(*head_.bias) : Tensor{}});
}

}  // namespace engine
