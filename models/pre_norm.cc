#include "models/blocks.h"

namespace engine {

PreNormBlock::PreNormBlock(Parameters& table, const ModelConfig& config, int layer, bool causal, Initial initial,
                           Initial output_initial, DropoutSite branch_dropout, const PreNormStyle& style)
    : is_parallel(style.is_parallel) {
  const std::string name = "layers." + std::to_string(layer);
  const int64_t width = config.hidden_size;
  range.first = table.size();
  norm1 = ResidualNorm(table, name + ".norm1", width, config.layer_norm_epsilon, branch_dropout);
  attention = SelfAttention(table, name + ".attention", width, static_cast<int>(config.num_heads), layer, causal,
                            config.attention_dropout, initial, output_initial, style.attention_bias);
  attention.rotary = style.rotary;
  norm2 = ResidualNorm(table, name + ".norm2", width, config.layer_norm_epsilon,
                       table.add_dropout(name + ".attention", config.dropout));
  feed_forward = FeedForward(table, name + ".feed_forward", width, config.inner_size(),
                             activation_named(config.activation), initial, output_initial);
  range.last = table.size();
}

Tensor PreNormBlock::forward_inner(Pass& pass, const Tensor& branch, const Tensor& normed, Saved& saved) const {
  attention.forward(pass, normed, branch, saved.attention);
  Tensor residual;
  if (is_parallel) {
    residual = pass.arena.make(DType::f32, branch.shape);
    const Tensor& sum = saved.norm1.sum;
    pass.ops.dropout({.x = branch, .residual = sum, .y = residual, .dropout = pass.dropout(norm2.dropout)});
    saved.norm2 = saved.norm1;
    norm2.recompute(pass, saved.norm2, normed);
  } else {
    norm2.forward(pass, branch, saved.norm1.sum, normed, saved.norm2);
    residual = saved.norm2.sum;
  }
  feed_forward.forward(pass, normed, branch, saved.feed_forward);
  return residual;
}

Tensor PreNormBlock::forward(Pass& pass, const Tensor& residual, const Tensor& branch_in, const Tensor& branch,
                             const Tensor& normed, Saved& saved) const {
  const Tensor kept = pass.recompute ? pass.arena.make(DType::f32, residual.shape) : Tensor{};
  norm1.forward(pass, branch_in, residual, normed, saved.norm1);
  if (!pass.recompute) return forward_inner(pass, branch, normed, saved);
  const ArenaScope scope(pass.arena);
  pass.ops.copy({.x = forward_inner(pass, branch, normed, saved), .y = kept});
  return kept;
}

void PreNormBlock::backward_inner(Pass& pass, const StreamGradient& d, const Tensor& normed, const Tensor& dnormed,
                                  const Saved& saved) const {
  // The gradient of a parallel block's stream waits until attention has read that of its branch, which may be the same.
  const Tensor dnorm2 = is_parallel ? pass.arena.make(pass.compute, normed.shape) : dnormed;
  norm2.recompute(pass, saved.norm2, normed);
  feed_forward.backward(pass, d.branch(), normed, saved.feed_forward, dnorm2);
  if (!is_parallel) norm2.backward(pass, dnorm2, saved.norm2, d, /*accumulate=*/true);
  else if (d.own_branch)
    pass.ops.dropout({.x = d.residual, .y = d.own_branch, .dropout = pass.dropout(norm2.dropout)});
  norm1.recompute(pass, saved.norm1, normed);
  attention.backward(pass, d.branch(), normed, saved.attention, dnormed);
  if (is_parallel) norm2.backward(pass, dnorm2, saved.norm2, {d.residual, {}}, /*accumulate=*/true);
}

void PreNormBlock::backward(Pass& pass, const StreamGradient& d, bool has_branch_in, Saved& saved) const {
  const ArenaScope scope(pass.arena);
  const Tensor normed = pass.arena.make(pass.compute, d.residual.shape);
  const Tensor dnormed = pass.arena.make(pass.compute, d.residual.shape);
  if (pass.recompute) {
    norm1.recompute(pass, saved.norm1, normed);
    forward_inner(pass, /*branch=*/dnormed, normed, saved);
  }
  backward_inner(pass, d, normed, dnormed, saved);
  norm1.backward(pass, dnormed, saved.norm1, has_branch_in ? d : StreamGradient{d.residual, {}}, /*accumulate=*/true);
  pass.done(range);
}

PreNormStack::PreNormStack(Parameters& table, const ModelConfig& config, bool causal, Initial initial,
                           Initial output_initial, const PreNormStyle& style) {
  // A block's norm adds the branch of the block before it. The first block has no such branch to drop from.
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    blocks.emplace_back(table, config, static_cast<int>(layer), causal, initial, output_initial, branch_dropout, style);
    branch_dropout = table.add_dropout("layers." + std::to_string(layer) + ".feed_forward", config.dropout);
  }
}

Tensor PreNormStack::join(Pass& pass, size_t boundary, const Stream& stream) const {
  if (!stream.branch) return stream.residual;
  const Tensor x = pass.arena.make(DType::f32, stream.residual.shape);
  const Dropout dropout = pass.dropout(dropout_before(boundary));
  pass.ops.dropout({.x = stream.branch, .residual = stream.residual, .y = x, .dropout = dropout});
  return x;
}

StreamGradient PreNormStack::make_gradient(Pass& pass, const Shape& shape) const {
  // One tensor serves as every block's branch gradient, so all blocks have it apart or none.
  const bool apart = is_branch_apart(pass, branch_dropout);
  return {pass.arena.make(DType::f32, shape), apart ? pass.arena.make(pass.compute, shape) : Tensor{}};
}

void PreNormStack::split(Pass& pass, size_t boundary, const StreamGradient& d) const {
  const Dropout dropout = pass.dropout(dropout_before(boundary));
  if (d.own_branch) pass.ops.dropout({.x = d.residual, .y = d.own_branch, .dropout = dropout});
}

PreNormStack::Stream PreNormStack::at_boundary(Pass& pass, size_t boundary, const Stream& stream) const {
  if (!pass.is_tapped(boundary)) return stream;
  const Tensor x = join(pass, boundary, stream);
  pass.tap->forward(pass, static_cast<int64_t>(boundary), x);
  return {x, {}};
}

PreNormStack::Stream PreNormStack::forward(Pass& pass, const Tensor& x, Saved& saved) const {
  saved.resize(blocks.size());
  const Tensor branch = pass.arena.make(pass.compute, x.shape);
  const Tensor normed = pass.arena.make(pass.compute, x.shape);
  Stream stream = at_boundary(pass, 0, {x, {}});
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Tensor residual = blocks[i].forward(pass, stream.residual, stream.branch, branch, normed, saved[i]);
    stream = at_boundary(pass, i + 1, {residual, branch});
  }
  return stream;
}

void PreNormStack::backward(Pass& pass, const StreamGradient& d, Saved& saved) const {
  for (size_t i = blocks.size(); i-- > 0;) {
    if (pass.is_tapped(i + 1)) {
      pass.tap->backward(pass, static_cast<int64_t>(i + 1), d.residual);
      split(pass, i + 1, d);
    }
    blocks[i].backward(pass, d, /*has_branch_in=*/i > 0 && !pass.is_tapped(i), saved[i]);
  }
  if (pass.is_tapped(0)) pass.tap->backward(pass, 0, d.residual);
}

}  // namespace engine
