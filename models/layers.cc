#include "models/layers.h"

#include <cmath>

#include "kernels/attention/attention.h"

namespace engine {

Linear::Linear(Parameters& table, const std::string& name, int64_t inputs, int64_t outputs, Initial initial,
               bool with_bias)
    : weight(&table.add(name + ".weight", {outputs, inputs}, initial)),
      bias(with_bias ? &table.add(name + ".bias", {outputs}, Initial::zeros()) : nullptr) {
  weight->is_factor = weight->is_linear = true;
}

Linear Linear::part(int64_t first_output, int64_t outputs) const {
  Linear result = *this;
  result.first = first + first_output;
  result.count = outputs;
  return result;
}

Tensor Linear::own(const Tensor& all) const {
  if (count == 0) return all;
  const int64_t width = all.count() / all.shape[0];
  Tensor rows = all.reshaped({all.shape[0], width}).row_range(first, first + count);
  if (all.shape.rank == 1) rows.shape = {count};
  return rows;
}

void Linear::forward(const Run& run, const Tensor& x, const Tensor& y, Activation activation,
                     const Tensor& before_activation) const {
  // A packed matrix has another order of long sums. The bits of a training must not depend on whether its weights were
  // packed for an evaluation.
  const bool reads_packed = count == 0 && (!run.keep || run.packed);
  const Tensor packed = reads_packed ? weight->packed(run.compute) : Tensor{};
  run.ops.matmul({.a = x,
                  .b = packed ? weight->value : own(weight->factor(run.compute)),
                  .c = y,
                  .transpose_b = true,
                  .compute = run.compute,
                  .packed_b = packed,
                  .bias = bias ? own(bias->value) : Tensor{},
                  .activation = activation,
                  .before_activation = before_activation});
}

void Linear::backward(const Run& run, const Tensor& dy, const Tensor& x, const Tensor& dx, Activation activation,
                      const Tensor& gradient_at, bool accumulate) const {
  if (dx)
    run.ops.matmul({.a = dy,
                    .b = own(weight->factor(run.compute)),
                    .c = dx,
                    .accumulate = accumulate,
                    .compute = run.compute,
                    .packed_b = run.packed && count == 0 ? weight->packed_for_backward(run.compute) : Tensor{},
                    .activation = activation,
                    .gradient_at = gradient_at});
  // A part gives some rows of the gradient, so it can only add.
  const Gradients::Slot slot =
      count == 0 ? run.gradients->slot(*weight) : Gradients::Slot{run.gradients->sum(*weight), /*accumulate=*/true};
  run.ops.matmul({.a = dy,
                  .b = x,
                  .c = own(slot.tensor),
                  .transpose_a = true,
                  .accumulate = slot.accumulate,
                  .compute = run.compute,
                  .a_row_sums = bias ? own(run.gradients->sum(*bias)) : Tensor{}});
}

bool is_branch_apart(const Pass& pass, const DropoutSite& dropout) {
  return pass.compute != DType::f32 || pass.dropout(dropout).rate > 0;
}

ResidualNorm::ResidualNorm(Parameters& table, const std::string& name, int64_t width, float epsilon_,
                           DropoutSite dropout_)
    : gain(&table.add(name + ".gain", {width}, Initial::ones())),
      bias(&table.add(name + ".bias", {width}, Initial::zeros())),
      dropout(dropout_),
      epsilon(epsilon_) {}

ResidualNorm::Saved ResidualNorm::make_saved(Pass& pass, const Shape& shape) const {
  const Tensor sum = pass.arena.make(DType::f32, shape);
  return {sum, pass.arena.make(DType::f32, {sum.rows()}), pass.arena.make(DType::f32, {sum.rows()})};
}

void ResidualNorm::forward(Pass& pass, const Tensor& x, const Tensor& residual, const Tensor& y, Saved& saved) const {
  if (x) {
    saved = make_saved(pass, x.shape);
  } else {
    saved.sum = residual;
    saved.mean = pass.arena.make(DType::f32, {residual.rows()});
    saved.rstd = pass.arena.make(DType::f32, {residual.rows()});
  }
  forward_into(pass, x, residual, y, saved);
}

void ResidualNorm::forward_into(Pass& pass, const Tensor& x, const Tensor& residual, const Tensor& y,
                                const Saved& saved) const {
  pass.ops.layernorm_forward({.x = x,
                              .residual = residual,
                              .sum = x ? saved.sum : Tensor{},
                              .gain = gain->value,
                              .bias = bias->value,
                              .y = y,
                              .mean = saved.mean,
                              .rstd = saved.rstd,
                              .epsilon = epsilon,
                              .dropout = x ? pass.dropout(dropout) : Dropout{}});
}

void ResidualNorm::recompute(const Run& run, const Saved& saved, const Tensor& y) const {
  run.ops.layernorm_forward(
      {.residual = saved.sum, .gain = gain->value, .bias = bias->value, .y = y, .epsilon = epsilon});
}

void ResidualNorm::backward(Pass& pass, const Tensor& dy, const Saved& saved, const StreamGradient& d,
                            bool accumulate) const {
  pass.ops.layernorm_backward({.dy = dy,
                               .sum = saved.sum,
                               .mean = saved.mean,
                               .rstd = saved.rstd,
                               .gain = gain->value,
                               .dsum = d.residual,
                               .accumulate = accumulate,
                               .dx = d.own_branch,
                               .dgain = pass.gradients->sum(*gain),
                               .dbias = pass.gradients->sum(*bias),
                               .dropout = pass.dropout(dropout)});
}

RelativePositions::RelativePositions(Parameters& table, const std::string& name, const RelativeTable& wanted,
                                     int64_t head_width, bool causal, Initial initial) {
  if (wanted.kind == "none") return;
  distances = wanted.distances;
  const Shape shape{relative_rows(distances, causal), head_width};
  if (wanted.kind == "shared") {
    keys = values = &table.add(name, shape, initial);
  } else {
    keys = &table.add(name + ".keys", shape, initial);
    values = &table.add(name + ".values", shape, initial);
  }
}

RelativeGradients::RelativeGradients(const Run& run, const RelativePositions& relative) {
  if (!relative.distances) return;
  keys = run.gradients->sum(*relative.keys);
  values = run.gradients->sum(*relative.values);
}

SelfAttention::SelfAttention(Parameters& table, const std::string& name, int64_t width, int heads_, int layer_,
                             bool causal_, float attention_dropout, Initial initial, Initial output_initial,
                             bool with_bias)
    : qkv(table, name + ".qkv", width, 3 * width, initial.stacked(3), with_bias),
      output(table, name + ".output", width, width, output_initial, with_bias),
      heads(heads_),
      layer(layer_),
      causal(causal_),
      dropout(table.add_dropout(name + ".probabilities", attention_dropout)) {}

void SelfAttention::turn(Pass& pass, const Tensor& all, bool is_backward) const {
  if (!rotary) return;
  const int64_t width = all.cols() / 3;
  pass.ops.rotary({.x = {all, 0, 2 * width},
                   .positions = pass.layout.positions,
                   .table = *rotary,
                   .heads = 2 * heads,
                   .backward = is_backward});
}

void SelfAttention::forward(Pass& pass, const Tensor& x, const Tensor& y, Saved& saved) const {
  const int64_t tokens = x.rows(), width = x.cols();
  saved.qkv = pass.arena.make(pass.compute, {tokens, 3 * width});
  saved.mixed = pass.arena.make(pass.compute, {tokens, width});
  saved.lse = pass.keep ? pass.arena.make(DType::f32, {tokens, heads}) : Tensor{};
  qkv.forward(pass, x, saved.qkv);
  turn(pass, saved.qkv, /*is_backward=*/false);
  Columns k{saved.qkv, width, width}, v{saved.qkv, 2 * width, width};
  if (pass.state) {
    const auto& cache = static_cast<const KeyValueCache&>(*pass.state);
    const Tensor cached_k = cache.k[static_cast<size_t>(layer)], cached_v = cache.v[static_cast<size_t>(layer)];
    pass.ops.scatter_rows({.x = k, .index = cache.rows, .y = cached_k});
    pass.ops.scatter_rows({.x = v, .index = cache.rows, .y = cached_v});
    k = cached_k;
    v = cached_v;
  }
  pass.ops.attention_forward({.q = {saved.qkv, 0, width},
                              .k = k,
                              .v = v,
                              .heads = heads,
                              .queries = pass.layout.segments,
                              .keys = pass.state ? pass.state->keys : pass.layout.segments,
                              .causal = causal && !pass.bidirectional,
                              .scale = 1 / std::sqrt(static_cast<float>(width / heads)),
                              .y = saved.mixed,
                              .lse = saved.lse,
                              .dropout = pass.dropout(dropout),
                              .relative = relative.tables()});
  output.forward(pass, saved.mixed, y);
}

void SelfAttention::backward(Pass& pass, const Tensor& dy, const Tensor& x, const Saved& saved,
                             const Tensor& dx, bool accumulate) const {
  const int64_t tokens = x.rows(), width = x.cols();
  const ArenaScope scope(pass.arena);
  const Tensor dmixed = pass.arena.make(pass.compute, {tokens, width});
  const Tensor dqkv = pass.arena.make(pass.compute, {tokens, 3 * width});
  output.backward(pass, dy, saved.mixed, dmixed);
  const RelativeGradients drelative(pass, relative);
  Columns k{saved.qkv, width, width}, v{saved.qkv, 2 * width, width};
  Columns dk{dqkv, width, width}, dv{dqkv, 2 * width, width};
  const auto* const cache = static_cast<const KeyValueCache*>(pass.state);
  if (cache) {
    const auto at = static_cast<size_t>(layer);
    k = cache->k[at], v = cache->v[at], dk = cache->dk[at], dv = cache->dv[at];
  }
  pass.ops.attention_backward({.q = {saved.qkv, 0, width},
                               .k = k,
                               .v = v,
                               .heads = heads,
                               .queries = pass.layout.segments,
                               .keys = cache ? cache->keys : pass.layout.segments,
                               .causal = causal && !pass.bidirectional,
                               .scale = 1 / std::sqrt(static_cast<float>(width / heads)),
                               .y = saved.mixed,
                               .dy = dmixed,
                               .lse = saved.lse,
                               .dq = {dqkv, 0, width},
                               .dk = dk,
                               .dv = dv,
                               .adds_to_keys = cache != nullptr,
                               .dropout = pass.dropout(dropout),
                               .relative = relative.tables(),
                               .drelative_keys = drelative.keys,
                               .drelative_values = drelative.values});
  if (cache) {
    // Passes behind this one have added what their queries give.
    pass.ops.gather_rows({.x = dk, .index = cache->rows, .y = {dqkv, width, width}});
    pass.ops.gather_rows({.x = dv, .index = cache->rows, .y = {dqkv, 2 * width, width}});
  }
  turn(pass, dqkv, /*is_backward=*/true);
  qkv.backward(pass, dqkv, x, dx, Activation::none, {}, accumulate);
}

FeedForward::FeedForward(Parameters& table, const std::string& name, int64_t width, int64_t inner,
                         Activation activation_, Initial initial, Initial output_initial)
    : up(table, name + ".up", width, inner, initial),
      down(table, name + ".down", inner, width, output_initial),
      activation(activation_) {}

void FeedForward::forward(Pass& pass, const Tensor& x, const Tensor& y, Saved& saved) const {
  const Shape inner{x.rows(), up.weight->shape[0]};
  const auto fresh = [&] { return pass.arena.make(pass.compute, inner); };
  saved.before = pass.keep ? fresh() : Tensor{};
  saved.activated = pass.keep ? fresh() : Tensor{};
  const ArenaScope scope(pass.arena);
  const Tensor activated = pass.keep ? saved.activated : fresh();
  up.forward(pass, x, activated, activation, saved.before);
  if (const Dropout drops = pass.dropout(dropout); drops.rate > 0)
    pass.ops.dropout({.x = activated, .y = activated, .dropout = drops});
  down.forward(pass, activated, y);
}

void FeedForward::backward(Pass& pass, const Tensor& dy, const Tensor& x, const Saved& saved, const Tensor& dx,
                           bool accumulate) const {
  const ArenaScope scope(pass.arena);
  const Tensor dbefore = pass.arena.make(pass.compute, saved.before.shape);
  if (const Dropout drops = pass.dropout(dropout); drops.rate > 0) {
    const Tensor dactivated = pass.arena.make(pass.compute, saved.before.shape);
    down.backward(pass, dy, saved.activated, dactivated);
    pass.ops.dropout({.x = dactivated, .y = dactivated, .dropout = drops});
    pass.ops.activation_backward({.x = saved.before, .dy = dactivated, .dx = dbefore, .activation = activation});
  } else {
    down.backward(pass, dy, saved.activated, dbefore, activation, saved.before);
  }
  up.backward(pass, dbefore, x, dx, Activation::none, {}, accumulate);
}

Activation activation_named(const std::string& name) {
  if (name == "relu") return Activation::relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "tanh") return Activation::tanh;
  if (name == "silu") return Activation::silu;
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "mish") return Activation::mish;
  fail("no activation is named ", name, ": relu, gelu, gelu_tanh, tanh, silu, quick_gelu or mish");
}

}  // namespace engine
