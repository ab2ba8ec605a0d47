#include "models/blocks.h"

#include <optional>

namespace engine {

namespace {

std::string layer_name(int layer) { return "layers." + std::to_string(layer); }

}  // namespace

PreNormBlock::PreNormBlock(Parameters& table, const ModelConfig& config, int layer, bool causal, Initial initial,
                           Initial output_initial, DropoutLayer branch_dropout) {
  const std::string name = layer_name(layer);
  const int64_t width = config.hidden_size;
  norm1 = ResidualNorm(table, name + ".norm1", width, config.layer_norm_epsilon, branch_dropout);
  attention = SelfAttention(table, name + ".attention", width, static_cast<int>(config.num_heads), layer, causal,
                            config.attention_dropout, initial, output_initial);
  norm2 = ResidualNorm(table, name + ".norm2", width, config.layer_norm_epsilon, table.add_dropout(config.dropout));
  feed_forward = FeedForward(table, name + ".feed_forward", width, config.inner_size(),
                             activation_named(config.activation), initial, output_initial);
}

void PreNormBlock::forward_inner(Pass& pass, const Tensor& branch, const Tensor& normed, Saved& saved) const {
  attention.forward(pass, normed, branch, saved.attention);
  norm2.forward(pass, branch, saved.norm1.sum, normed, saved.norm2);
  feed_forward.forward(pass, normed, branch, saved.feed_forward);
}

Tensor PreNormBlock::forward(Pass& pass, const Tensor& residual, const Tensor& branch_in, const Tensor& branch,
                             const Tensor& normed, Saved& saved) const {
  const Tensor kept = pass.recompute ? pass.arena.make(DType::f32, residual.shape) : Tensor{};
  norm1.forward(pass, branch_in, residual, normed, saved.norm1);
  if (!pass.recompute) {
    forward_inner(pass, branch, normed, saved);
    return saved.norm2.sum;
  }
  const ArenaScope scope(pass.arena);
  forward_inner(pass, branch, normed, saved);
  pass.ops.copy({.x = saved.norm2.sum, .y = kept});
  return kept;
}

void PreNormBlock::backward(Pass& pass, const Tensor& dresidual, const Tensor& dbranch, Saved& saved) const {
  const ArenaScope scope(pass.arena);
  const Tensor normed = pass.arena.make(pass.compute, dresidual.shape);
  const Tensor dnormed = pass.arena.make(pass.compute, dresidual.shape);
  if (pass.recompute) {
    norm1.again(pass, saved.norm1, normed);
    forward_inner(pass, /*branch=*/dnormed, normed, saved);
  }
  norm2.again(pass, saved.norm2, normed);
  feed_forward.backward(pass, dbranch, normed, saved.feed_forward, dnormed);
  norm2.backward(pass, dnormed, saved.norm2, dresidual, dbranch);
  norm1.again(pass, saved.norm1, normed);
  attention.backward(pass, dbranch, normed, saved.attention, dnormed);
  norm1.backward(pass, dnormed, saved.norm1, dresidual, dbranch);
}

PreNormStack::PreNormStack(Parameters& table, const ModelConfig& config, bool causal, Initial initial,
                           Initial output_initial) {
  // A block's norm adds the branch of the block before it: nothing is dropped at the first.
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    blocks.emplace_back(table, config, static_cast<int>(layer), causal, initial, output_initial, branch_dropout);
    branch_dropout = table.add_dropout(config.dropout);
  }
}

PreNormStack::Stream PreNormStack::forward(Pass& pass, const Tensor& residual, Saved& saved) const {
  saved.resize(blocks.size());
  const Tensor branch = pass.arena.make(pass.compute, residual.shape);
  const Tensor normed = pass.arena.make(pass.compute, residual.shape);
  Stream stream{residual, {}};
  for (size_t i = 0; i < blocks.size(); ++i)
    stream = {blocks[i].forward(pass, stream.residual, stream.branch, branch, normed, saved[i]), branch};
  return stream;
}

void PreNormStack::backward(Pass& pass, const Tensor& dresidual, const Tensor& dbranch, Saved& saved) const {
  for (size_t i = blocks.size(); i-- > 0;) blocks[i].backward(pass, dresidual, dbranch, saved[i]);
}

PostNormBlock::PostNormBlock(Parameters& table, const ModelConfig& config, int layer, Initial initial) {
  const std::string name = layer_name(layer);
  const int64_t width = config.hidden_size;
  attention = SelfAttention(table, name + ".attention", width, static_cast<int>(config.num_heads), layer,
                            /*causal=*/false, config.attention_dropout, initial, initial);
  norm1 = ResidualNorm(table, name + ".norm1", width, config.layer_norm_epsilon, table.add_dropout(config.dropout));
  feed_forward = FeedForward(table, name + ".feed_forward", width, config.inner_size(),
                             activation_named(config.activation), initial, initial);
  norm2 = ResidualNorm(table, name + ".norm2", width, config.layer_norm_epsilon, table.add_dropout(config.dropout));
}

void PostNormBlock::forward(Pass& pass, const Tensor& x, const Tensor& middle, const Tensor& branch,
                            Saved& saved) const {
  saved.norm2 = pass.keep ? norm2.room(pass, x.shape) : ResidualNorm::Saved{};
  std::optional<ArenaScope> released;
  if (pass.recompute || !pass.keep) released.emplace(pass.arena);
  saved.norm1 = pass.keep ? norm1.room(pass, x.shape) : ResidualNorm::Saved{};
  attention.forward(pass, x, branch, saved.attention);
  norm1.forward_into(pass, branch, x, middle, saved.norm1);
  feed_forward.forward(pass, middle, branch, saved.feed_forward);
  norm2.forward_into(pass, branch, middle, x, saved.norm2);
}

void PostNormBlock::backward(Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& dx,
                             const Tensor& dmiddle, Saved& saved) const {
  const ArenaScope scope(pass.arena);
  const Tensor middle = pass.arena.make(pass.compute, dx.shape);
  const Tensor branch = norm2.gradient_of_branch(pass, dmiddle);
  const bool apart = branch.data != dmiddle.data;
  if (pass.recompute) {
    const Tensor scratch = pass.arena.make(pass.compute, dx.shape);
    attention.forward(pass, input, scratch, saved.attention);
    norm1.forward(pass, scratch, input, middle, saved.norm1);
    feed_forward.forward(pass, middle, scratch, saved.feed_forward);
  } else {
    norm1.again(pass, saved.norm1, middle);
  }
  norm2.backward(pass, dy, saved.norm2, dmiddle, branch, /*accumulate=*/false);
  feed_forward.backward(pass, branch, middle, saved.feed_forward, dmiddle, /*accumulate=*/true);
  const Tensor attention_branch = apart ? branch : dx;
  norm1.backward(pass, dmiddle, saved.norm1, dx, attention_branch, /*accumulate=*/false);
  attention.backward(pass, attention_branch, input, saved.attention, dx, /*accumulate=*/true);
}

}  // namespace engine
