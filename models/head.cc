#include "models/head.h"

namespace engine {

namespace {

void add_outputs(Parameters& table, Head& head, const std::string& name, int64_t width, int64_t outputs, float dropout,
                 float deviation) {
  head.dropout = table.add_dropout(name, dropout);
  head.project_by(Linear(table, name, width, outputs, Initial::normal(deviation)));
}

}  // namespace

void add_classifier(Parameters& table, Head& head, const ModelConfig& config, int64_t width, float deviation) {
  const auto classes = static_cast<int64_t>(config.labels.size());
  if (classes < 1) fail_usage("a model that classifies needs the names of its classes");
  add_outputs(table, head, "classifier", width, classes, config.classifier_dropout, deviation);
}

void add_span_outputs(Parameters& table, Head& head, const ModelConfig& config, int64_t width) {
  add_outputs(table, head, "qa_outputs", width, 2, config.span_dropout, config.initializer_range);
  head.span.add(table, config, width);
}

void Head::project_by(const Linear& layer) {
  projection = layer.weight;
  projection->is_read_apart = true;
  bias = layer.bias;
}

Tensor Head::forward(Pass& pass, const Tensor& rows, Saved& saved) const {
  Tensor features = rows;
  const auto make = [&](int64_t cols) { return pass.arena.make(pass.compute, {rows.rows(), cols}); };
  if (dense) {
    const int64_t width = dense->weight->shape[0];
    const Dropout entry = pass.dropout(entry_dropout);
    saved.dropped = entry.rate > 0 ? make(rows.cols()) : Tensor{};
    if (saved.dropped) pass.ops.dropout({.x = rows, .y = saved.dropped, .dropout = entry});
    saved.before = pass.keep ? make(width) : Tensor{};
    features = make(width);
    dense->forward(pass, saved.dropped ? saved.dropped : rows, features, activation, saved.before);
  }
  if (norm) {
    const Tensor x = features;
    features = make(x.cols());
    norm->forward(pass, x, {}, features, saved.norm);
  }
  const Dropout drop = pass.dropout(dropout);
  if (drop.rate > 0) {
    const Tensor x = features;
    features = make(x.cols());
    pass.ops.dropout({.x = x, .y = features, .dropout = drop});
  }
  return features;
}

Tensor Head::backward(Pass& pass, const Tensor& dfeatures, const Tensor& rows, const Saved& saved) const {
  if (projection) pass.scored(*projection);
  Tensor gradient = dfeatures;
  const Dropout drop = pass.dropout(dropout);
  if (drop.rate > 0) {
    gradient = pass.arena.make(pass.compute, dfeatures.shape);
    pass.ops.dropout({.x = dfeatures, .y = gradient, .dropout = drop});
  }
  if (norm) {
    const Tensor dy = gradient;
    gradient = pass.arena.make(DType::f32, dy.shape);
    norm->backward(pass, dy, saved.norm, {gradient, {}}, /*accumulate=*/false);
  }
  if (dense) {
    const Tensor dbefore = pass.arena.make(pass.compute, gradient.shape);
    pass.ops.activation_backward({.x = saved.before, .dy = gradient, .dx = dbefore, .activation = activation});
    gradient = pass.arena.make(pass.compute, rows.shape);
    dense->backward(pass, dbefore, saved.dropped ? saved.dropped : rows, gradient);
    if (saved.dropped) pass.ops.dropout({.x = gradient, .y = gradient, .dropout = pass.dropout(entry_dropout)});
  }
  pass.done(range);
  return gradient;
}

void Head::project(const Run& run, const Tensor& features, const Tensor& logits) const {
  const ArenaScope scope(run.arena);
  SpanHead::Saved saved;
  project(run, features, logits, saved);
}

void Head::project(const Run& run, const Tensor& features, const Tensor& logits, SpanHead::Saved& saved) const {
  run.ops.matmul({.a = features,
                  .b = projection->factor(run.compute),
                  .c = logits,
                  .transpose_b = true,
                  .compute = run.compute,
                  .packed_b = run.keep ? Tensor{} : projection->packed(run.compute),
                  .bias = bias_values()});
  span.forward(run, features, logits, saved);
}

void Head::project_backward(const Run& run, const Tensor& logits, const Tensor& dlogits, const Tensor& features,
                            const SpanHead::Saved& saved, const Tensor& dfeatures) const {
  span.chain_backward(run, logits, dlogits);
  Linear outputs;
  outputs.weight = projection;
  outputs.bias = bias;
  outputs.backward(run, dlogits, features, dfeatures);
  span.dense_backward(run, dlogits, features, saved, dfeatures);
}

}  // namespace engine
