#include "models/cross_attention.h"

#include <cmath>

namespace engine {

CrossAttention::CrossAttention(Parameters& table, const std::string& name, int64_t width, int heads_, int layer_,
                               float attention_dropout, Initial initial)
    : q(table, name + ".q", width, width, initial),
      kv(table, name + ".kv", width, 2 * width, initial.stacked(2)),
      output(table, name + ".output", width, width, initial),
      heads(heads_),
      layer(layer_),
      dropout(table.add_dropout(name + ".probabilities", attention_dropout)) {}

CrossAttention::CrossAttention(const SelfAttention& self)
    : output(self.output),
      heads(self.heads),
      layer(self.layer),
      dropout(self.dropout),
      causal(self.causal),
      relative(self.relative) {
  const int64_t width = self.qkv.weight->shape[1];
  q = self.qkv.part(0, width);
  kv = self.qkv.part(width, 2 * width);
}

Pass CrossAttention::pass_of_queries(const Pass& pass, const SourceStates& source) const {
  return has_places() || !source.queries ? pass : pass.over(source.queries.layout);
}

Tensor CrossAttention::put(Pass& pass, const Tensor& rows, const SourceStates& source) const {
  if (!has_places()) return rows;
  const Tensor all = pass.arena.make_zeros(rows.dtype, {source.states.rows(), rows.cols()});
  pass.ops.scatter_rows({.x = rows, .index = source.queries.index, .y = all});
  return all;
}

Tensor CrossAttention::take(Pass& pass, const Tensor& all, const SourceStates& source) const {
  if (!has_places()) return all;
  const Tensor rows = pass.arena.make(all.dtype, {source.queries.index.count(), all.cols()});
  pass.ops.gather_rows({.x = all, .index = source.queries.index, .y = rows});
  return rows;
}

void CrossAttention::forward(Pass& pass, const Tensor& x, const SourceStates& source, const Tensor& y,
                             Saved& saved) const {
  const int64_t tokens = x.rows(), width = x.cols();
  const Tensor own_q = pass.arena.make(pass.compute, {tokens, width});
  q.forward(pass, x, own_q);
  saved.q = put(pass, own_q, source);
  saved.mixed = pass.arena.make(pass.compute, saved.q.shape);
  saved.lse = pass.keep ? pass.arena.make(DType::f32, {saved.q.rows(), heads}) : Tensor{};
  if (source.states) {
    saved.kv = pass.arena.make(pass.compute, {source.states.rows(), 2 * width});
    kv.forward(pass, source.states, saved.kv);
  }
  Tensor all_kv = saved.kv;
  if (pass.state) {
    all_kv = static_cast<const KeyValueCache&>(*pass.state).source_kv[static_cast<size_t>(layer)];
    if (source.states) pass.ops.scatter_rows({.x = saved.kv, .index = pass.state->source_rows, .y = all_kv});
  }
  const Pass own = pass_of_queries(pass, source);
  pass.ops.attention_forward({.q = saved.q,
                              .k = {all_kv, 0, width},
                              .v = {all_kv, width, width},
                              .heads = heads,
                              .queries = own.layout.segments,
                              .keys = pass.state ? pass.state->source_keys : source.segments,
                              .causal = causal,
                              .scale = 1 / std::sqrt(static_cast<float>(width / heads)),
                              .y = saved.mixed,
                              .lse = saved.lse,
                              .dropout = own.dropout(dropout),
                              .relative = relative.tables()});
  saved.mixed_queries = take(pass, saved.mixed, source);
  output.forward(pass, saved.mixed_queries, y);
}

void CrossAttention::backward(Pass& pass, const Tensor& dy, const Tensor& x, const SourceStates& source,
                              const Saved& saved, const Tensor& dx, const Tensor& dsource, bool accumulate) const {
  const int64_t width = x.cols();
  const ArenaScope scope(pass.arena);
  const Tensor dmixed = pass.arena.make(pass.compute, saved.mixed_queries.shape);
  const Tensor dq = pass.arena.make(pass.compute, saved.q.shape);
  const Tensor dkv = pass.arena.make(pass.compute, saved.kv.shape);
  output.backward(pass, dy, saved.mixed_queries, dmixed);
  const Pass own = pass_of_queries(pass, source);
  const RelativeGradients drelative(pass, relative);
  pass.ops.attention_backward({.q = saved.q,
                               .k = {saved.kv, 0, width},
                               .v = {saved.kv, width, width},
                               .heads = heads,
                               .queries = own.layout.segments,
                               .keys = source.segments,
                               .causal = causal,
                               .scale = 1 / std::sqrt(static_cast<float>(width / heads)),
                               .y = saved.mixed,
                               .dy = put(pass, dmixed, source),
                               .lse = saved.lse,
                               .dq = dq,
                               .dk = {dkv, 0, width},
                               .dv = {dkv, width, width},
                               .dropout = own.dropout(dropout),
                               .relative = relative.tables(),
                               .drelative_keys = drelative.keys,
                               .drelative_values = drelative.values});
  q.backward(pass, take(pass, dq, source), x, dx, Activation::none, {}, /*accumulate=*/true);
  kv.backward(pass, dkv, source.states, dsource, Activation::none, {}, accumulate);
}

}  // namespace engine
