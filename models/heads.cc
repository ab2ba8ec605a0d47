#include "models/heads.h"

namespace engine {

namespace {

Dropout dropout_of_sequences(const Pass& pass, const DropoutLayer& layer) {
  Dropout dropout = pass.dropout(layer);
  dropout.first_row = pass.first_sequence;
  return dropout;
}

}  // namespace

Tensor FeatureHead::forward(Pass& pass, const Tensor& rows, Saved& saved) const {
  Tensor features = rows;
  const auto fresh = [&](int64_t cols) { return pass.arena.make(pass.compute, {rows.rows(), cols}); };
  if (dense) {
    const int64_t width = dense->weight->shape[0];
    saved.before = pass.keep ? fresh(width) : Tensor{};
    features = fresh(width);
    dense->forward(pass, rows, features, activation, saved.before);
  }
  if (norm) {
    const Tensor x = features;
    features = fresh(x.cols());
    norm->forward(pass, x, {}, features, saved.norm);
  }
  const Dropout drop = dropout_of_sequences(pass, dropout);
  if (drop.rate > 0) {
    const Tensor x = features;
    features = fresh(x.cols());
    pass.ops.dropout({.x = x, .y = features, .dropout = drop});
  }
  return features;
}

Tensor FeatureHead::backward(Pass& pass, const Tensor& dfeatures, const Tensor& rows, const Saved& saved) const {
  Tensor gradient = dfeatures;
  const Dropout drop = dropout_of_sequences(pass, dropout);
  if (drop.rate > 0) {
    gradient = pass.arena.make(pass.compute, dfeatures.shape);
    pass.ops.dropout({.x = dfeatures, .y = gradient, .dropout = drop});
  }
  if (norm) {
    const Tensor dy = gradient;
    gradient = pass.arena.make(DType::f32, dy.shape);
    norm->backward(pass, dy, saved.norm, gradient, gradient, /*accumulate=*/false);
  }
  if (dense) {
    const Tensor dbefore = pass.arena.make(pass.compute, gradient.shape);
    pass.ops.activation_backward({.x = saved.before, .dy = gradient, .dx = dbefore, .activation = activation});
    gradient = pass.arena.make(pass.compute, rows.shape);
    dense->backward(pass, dbefore, rows, gradient);
  }
  return gradient;
}

}  // namespace engine
