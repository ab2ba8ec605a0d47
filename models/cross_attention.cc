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
      dropout(table.add_dropout(attention_dropout)) {}

CrossAttention::CrossAttention(const SelfAttention& self)
    : output(self.output), heads(self.heads), layer(self.layer), dropout(self.dropout) {
  require(!self.causal && self.relative.distances == 0, "rows that are asked for see all of their sequence");
  const int64_t width = self.qkv.weight->shape[1];
  q = self.qkv.part(0, width);
  kv = self.qkv.part(width, 2 * width);
}

void CrossAttention::forward(Pass& pass, const Tensor& x, const SourceStates& source, const Tensor& y,
                             Saved& saved) const {
  const int64_t tokens = x.rows(), width = x.cols();
  saved.q = pass.arena.make(pass.compute, {tokens, width});
  saved.mixed = pass.arena.make(pass.compute, {tokens, width});
  saved.lse = pass.keep ? pass.arena.make(DType::f32, {tokens, heads}) : Tensor{};
  q.forward(pass, x, saved.q);
  if (source.states) {
    saved.kv = pass.arena.make(pass.compute, {source.states.rows(), 2 * width});
    kv.forward(pass, source.states, saved.kv);
  }
  Tensor all_kv = saved.kv;
  if (pass.cache) {
    all_kv = pass.cache->source_kv[static_cast<size_t>(layer)];
    if (source.states) pass.ops.scatter_rows({.x = saved.kv, .index = pass.cache->source_rows, .y = all_kv});
  }
  pass.ops.attention_forward({.q = saved.q,
                              .k = {all_kv, 0, width},
                              .v = {all_kv, width, width},
                              .heads = heads,
                              .queries = pass.segments,
                              .keys = pass.cache ? pass.cache->source_keys : source.segments,
                              .scale = 1 / std::sqrt(static_cast<float>(width / heads)),
                              .y = saved.mixed,
                              .lse = saved.lse,
                              .dropout = pass.dropout(dropout)});
  output.forward(pass, saved.mixed, y);
}

void CrossAttention::backward(Pass& pass, const Tensor& dy, const Tensor& x, const SourceStates& source,
                              const Saved& saved, const Tensor& dx, const Tensor& dsource, bool accumulate) const {
  const int64_t width = x.cols();
  const ArenaScope scope(pass.arena);
  const Tensor dmixed = pass.arena.make(pass.compute, saved.mixed.shape);
  const Tensor dq = pass.arena.make(pass.compute, saved.q.shape);
  const Tensor dkv = pass.arena.make(pass.compute, saved.kv.shape);
  output.backward(pass, dy, saved.mixed, dmixed);
  pass.ops.attention_backward({.q = saved.q,
                               .k = {saved.kv, 0, width},
                               .v = {saved.kv, width, width},
                               .heads = heads,
                               .queries = pass.segments,
                               .keys = source.segments,
                               .scale = 1 / std::sqrt(static_cast<float>(width / heads)),
                               .y = saved.mixed,
                               .dy = dmixed,
                               .lse = saved.lse,
                               .dq = dq,
                               .dk = {dkv, 0, width},
                               .dv = {dkv, width, width},
                               .dropout = pass.dropout(dropout)});
  q.backward(pass, dq, x, dx, Activation::none, {}, /*accumulate=*/true);
  kv.backward(pass, dkv, source.states, dsource, Activation::none, {}, accumulate);
}

}  // namespace engine
