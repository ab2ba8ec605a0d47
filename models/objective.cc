#include "models/objective.h"

#include <algorithm>

#include "kernels/losses/cross_entropy.h"

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
    : pass(outputs ? whole.over(outputs.layout) : whole),
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
  HeadPass rows(pass, head_, hidden, batch.outputs, request.gradients);
  score(rows, batch, request);
  return request.gradients ? rows.backward() : Tensor{};
}

namespace {

// Ranks and the likeliest outputs, as far as they are wanted, from the logits of some rows at a time.
void look_at_logits(const HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) {
  const Run& run = rows.pass;
  const int64_t count = rows.features.rows(), outputs = rows.head.outputs();
  const int64_t chunk = rows_within(int64_t{24} << 20, count, outputs * 4, 2048);
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const ArenaScope scope(run.arena);
    const int64_t end = std::min(count, begin + chunk);
    const auto part = [&](const Tensor& all) {
      return all.reshaped({count, 1}).row_range(begin, end).reshaped({end - begin});
    };
    const Tensor logits = run.arena.make(DType::f32, {end - begin, outputs});
    rows.head.project(run, rows.features.row_range(begin, end), logits);
    if (request.ranks) run.ops.rank({.logits = logits, .tokens = part(batch.labels), .ranks = part(request.ranks)});
    if (request.likeliest) run.ops.sample({.logits = logits, .tokens = part(request.likeliest)});
  }
}

}  // namespace

void CrossEntropyObjective::score(HeadPass& rows, const DeviceBatch& batch, const LossRequest& request) {
  const Pass& pass = rows.pass;
  const Gradients* const gradients = request.gradients ? pass.gradients : nullptr;
  pass.ops.cross_entropy({.x = rows.features,
                          .weight = head_.projection->factor(pass.compute),
                          .bias = head_.bias_values(),
                          .labels = batch.labels,
                          .row_weights = batch.weights,
                          .label_smoothing = request.gradients ? label_smoothing_ : 0,
                          .compute = pass.compute,
                          .totals = request.totals,
                          .row_losses = request.row_losses,
                          .gradient_scale = request.gradient_scale,
                          .dx = rows.dfeatures,
                          .dweight = gradients ? pass.gradients->sum(*head_.projection) : Tensor{},
                          .dbias = gradients && head_.bias ? pass.gradients->sum(*head_.bias) : Tensor{}});
  if (request.ranks || request.likeliest) look_at_logits(rows, batch, request);
}

}  // namespace engine
