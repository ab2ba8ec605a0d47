#include "models/blocks.h"

#include <utility>

namespace engine {

namespace {

std::string layer_name(const std::string& prefix, int layer) { return prefix + "layers." + std::to_string(layer); }

}  // namespace

PreNormBlock::PreNormBlock(Parameters& table, const ModelConfig& config, int layer, bool causal, Initial initial,
                           Initial output_initial, DropoutLayer branch_dropout) {
  const std::string name = layer_name("", layer);
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

PostNormBlock::PostNormBlock(Parameters& table, const ModelConfig& config, const std::string& prefix, int layer,
                             bool decoder, Initial initial) {
  const std::string name = layer_name(prefix, layer);
  const int64_t width = config.hidden_size;
  const int heads = static_cast<int>(config.num_heads);
  const auto norm = [&](const char* part) {
    return ResidualNorm(table, name + part, width, config.layer_norm_epsilon, table.add_dropout(config.dropout));
  };
  attention = SelfAttention(table, name + ".attention", width, heads, layer, /*causal=*/decoder,
                            config.attention_dropout, initial, initial);
  attention.relative = RelativePositions(table, name + ".attention.relative", config.relative_positions,
                                         config.relative_distances, width / heads, /*causal=*/decoder, initial);
  norm1 = norm(".norm1");
  if (decoder) {
    cross_attention =
        CrossAttention(table, name + ".cross_attention", width, heads, layer, config.attention_dropout, initial);
    cross_norm = norm(".cross_norm");
  }
  feed_forward = FeedForward(table, name + ".feed_forward", width, config.inner_size(),
                             activation_named(config.activation), initial, initial);
  norm2 = norm(".norm2");
}

Tensor PostNormBlock::forward_inner(Pass& pass, const Tensor& x, const Tensor& middle, const Tensor& branch,
                                    const SourceStates& source, Saved& saved) const {
  const AskedRows& asked = saved.asked;
  Pass own = pass.of(asked);
  Tensor from = x, to = middle;
  const auto room = [&](const ResidualNorm& norm) {
    return pass.keep ? norm.room(pass, to.shape) : ResidualNorm::Saved{};
  };
  if (asked) {
    from = middle, to = x.row_range(0, middle.rows());
    pass.ops.gather_rows({.x = x, .index = asked.index, .y = from});
    CrossAttention(attention).forward(pass, from, {x, pass.segments, asked}, branch, saved.attention_of_rows);
  } else {
    attention.forward(pass, x, branch, saved.attention);
  }
  saved.norm1 = room(norm1);
  norm1.forward_into(own, branch, from, to, saved.norm1);
  if (cross_attention) {
    std::swap(from, to);
    saved.cross_norm = room(cross_norm);
    cross_attention->forward(own, from, source, branch, saved.cross_attention);
    cross_norm.forward_into(own, branch, from, to, saved.cross_norm);
  }
  feed_forward.forward(own, to, branch, saved.feed_forward);
  return to;
}

Tensor PostNormBlock::forward(Pass& pass, const Tensor& x, const Tensor& middle, const Tensor& branch,
                              const SourceStates& source, const AskedRows& asked, Saved& saved) const {
  saved.asked = asked;
  Pass own = pass.of(asked);
  const auto part = [&](const Tensor& room) { return asked ? room.row_range(0, asked.index.count()) : room; };
  const Tensor own_middle = part(middle), own_branch = part(branch);
  saved.norm2 = pass.keep ? norm2.room(pass, own_middle.shape) : ResidualNorm::Saved{};
  std::optional<ArenaScope> released;
  if (recomputes(pass, saved) || !pass.keep) released.emplace(pass.arena);
  const Tensor from = forward_inner(pass, x, own_middle, own_branch, source, saved);
  const Tensor to = from.data == x.data ? own_middle : part(x);
  norm2.forward_into(own, own_branch, from, to, saved.norm2);
  return to;
}

Tensor PostNormBlock::backward(Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& dx,
                               const Tensor& dmiddle, const SourceStates& source, const Tensor& dsource,
                               bool accumulate, Saved& saved) const {
  const ArenaScope scope(pass.arena);
  const AskedRows& asked = saved.asked;
  Pass own = pass.of(asked);
  const Shape shape = dy.shape;
  // What attention gave, normalised, and the same after cross attention.
  const Tensor middle = pass.arena.make(pass.compute, shape);
  const Tensor crossed = cross_attention ? pass.arena.make(pass.compute, shape) : middle;
  Tensor from = asked ? dmiddle.row_range(0, dy.rows()) : dmiddle;
  Tensor to = asked ? pass.arena.make(DType::f32, shape) : dx;
  const Tensor branch = norm2.gradient_of_branch(own, from);
  const bool apart = branch.data != from.data;
  if (recomputes(pass, saved)) {
    // The stream is f32 as in the forward pass: the same bits.
    const Tensor other = pass.arena.make(DType::f32, shape), scratch = pass.arena.make(pass.compute, shape);
    const Tensor x = cross_attention ? pass.arena.make(DType::f32, shape) : input;
    if (cross_attention) pass.ops.copy({.x = input, .y = x});
    forward_inner(pass, x, other, scratch, source, saved);
  }
  norm1.again(own, saved.norm1, middle);
  if (cross_attention) cross_norm.again(own, saved.cross_norm, crossed);
  norm2.backward(own, dy, saved.norm2, from, branch, /*accumulate=*/false);
  feed_forward.backward(own, branch, crossed, saved.feed_forward, from, /*accumulate=*/true);
  if (cross_attention) {
    const Tensor cross_branch = apart ? branch : to;
    cross_norm.backward(own, from, saved.cross_norm, to, cross_branch, /*accumulate=*/false);
    cross_attention->backward(own, cross_branch, middle, source, saved.cross_attention, to, dsource, accumulate);
    std::swap(from, to);
  }
  const Tensor attention_branch = apart ? branch : to;
  norm1.backward(own, from, saved.norm1, to, attention_branch, /*accumulate=*/false);
  if (!asked) {
    attention.backward(pass, attention_branch, input, saved.attention, to, /*accumulate=*/true);
    return to;
  }
  backward_of_rows(pass, attention_branch, input, to, from, dx, saved);
  return dx;
}

void PostNormBlock::backward_of_rows(Pass& pass, const Tensor& dbranch, const Tensor& input, const Tensor& drows,
                                     const Tensor& scratch, const Tensor& dx, const Saved& saved) const {
  const Tensor& index = saved.asked.index;
  const Tensor rows = pass.arena.make(input.dtype, drows.shape);
  pass.ops.gather_rows({.x = input, .index = index, .y = rows});
  CrossAttention(attention).backward(pass, dbranch, rows, {input, pass.segments, saved.asked}, saved.attention_of_rows,
                                     drows, dx, /*accumulate=*/false);
  // To what came through keys and values.
  pass.ops.gather_rows({.x = dx, .index = index, .y = scratch});
  pass.ops.dropout({.x = drows, .residual = scratch, .y = scratch});
  pass.ops.scatter_rows({.x = scratch, .index = index, .y = dx});
}

PostNormStack::PostNormStack(Parameters& table, const ModelConfig& config, const std::string& prefix, int64_t layers,
                             bool decoder, Initial initial)
    : norm(table, prefix + "embedding.norm", config.hidden_size, config.layer_norm_epsilon, {}),
      dropout(table.add_dropout(config.dropout)) {
  for (int64_t layer = 0; layer < layers; ++layer)
    blocks.emplace_back(table, config, prefix, static_cast<int>(layer), decoder, initial);
}

void PostNormStack::drop(Pass& pass, const Tensor& x) const {
  const Dropout drops = pass.dropout(dropout);
  if (drops.rate > 0) pass.ops.dropout({.x = x, .y = x, .dropout = drops});
}

Tensor PostNormStack::forward(Pass& pass, const Tensor& embedded, Saved& saved, const SourceStates& source,
                              const AskedRows& asked) const {
  Tensor x = pass.arena.make(DType::f32, embedded.shape);
  Tensor middle = pass.keep ? pass.arena.make(DType::f32, embedded.shape) : embedded;
  const Tensor branch = pass.arena.make(pass.compute, embedded.shape);
  norm.forward(pass, {}, embedded, x, saved.norm);
  drop(pass, x);
  saved.blocks.resize(blocks.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    const AskedRows of_block = i + 1 == blocks.size() ? asked : AskedRows{};
    const Tensor y = blocks[i].forward(pass, x, middle, branch, source, of_block, saved.blocks[i]);
    if (y.data != x.data) middle = x;
    x = y;
  }
  return x;
}

Tensor PostNormStack::backward(Pass& pass, const Tensor& dhidden, Saved& saved, const SourceStates& source,
                               const Tensor& dsource) const {
  const Shape shape = saved.norm.sum.shape;
  Tensor dx = pass.arena.make(DType::f32, shape), dmiddle = pass.arena.make(DType::f32, shape);
  const ArenaScope scope(pass.arena);
  Tensor input = pass.arena.make(pass.recompute ? DType::f32 : pass.compute, shape);
  for (size_t i = blocks.size(); i-- > 0;) {
    const bool is_last = i + 1 == blocks.size();
    if (i) {
      blocks[i - 1].output_again(pass, saved.blocks[i - 1], input);
    } else {
      // Dropping is a product: of numbers in bf16 it would round twice what was rounded once in the forward pass.
      const bool drops = pass.dropout(dropout).rate > 0;
      if (drops && input.dtype != DType::f32) input = pass.arena.make(DType::f32, shape);
      norm.again(pass, saved.norm, input);
      drop(pass, input);
    }
    const Tensor written = blocks[i].backward(pass, is_last ? dhidden : dx, input, dx, dmiddle, source, dsource,
                                              /*accumulate=*/!is_last, saved.blocks[i]);
    if (written.data != dx.data) std::swap(dx, dmiddle);
  }
  drop(pass, dx);
  norm.backward(pass, dx, saved.norm, dmiddle, dmiddle, /*accumulate=*/false);
  return dmiddle;
}

}  // namespace engine
