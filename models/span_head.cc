#include "models/span_head.h"

namespace engine {

void SpanHead::add(Parameters& table, const ModelConfig& config, int64_t width) {
  const Initial initial = Initial::normal(config.initializer_range);
  if (config.span_dense) {
    dense = Linear(table, "span_dense.dense", width, width, initial);
    outputs.weight = &table.add("span_dense.outputs.weight", {2, width}, initial);
    outputs.weight->is_factor = outputs.weight->is_linear = outputs.weight->is_read_apart = true;
  }
  if (config.span_order == ModelConfig::independent_spans) return;
  chain = &table.add("span_order.weight", {1}, Initial::zeros());
  from = config.span_order == "end_first";
  to = 1 - from;
}

void SpanHead::forward(const Run& run, const Tensor& features, const Tensor& logits, Saved& saved) const {
  if (dense) {
    saved.before = run.keep ? run.arena.make(run.compute, features.shape) : Tensor{};
    saved.dense = run.arena.make(run.compute, features.shape);
    dense->forward(run, features, saved.dense, Activation::mish, saved.before);
    run.ops.matmul({.a = saved.dense,
                    .b = outputs.weight->factor(run.compute),
                    .c = logits,
                    .transpose_b = true,
                    .accumulate = true,
                    .compute = run.compute,
                    .packed_b = run.keep ? Tensor{} : outputs.weight->packed(run.compute)});
  }
  if (chain) run.ops.chain_columns_forward({.y = logits, .weight = chain->value, .from = from, .to = to});
}

void SpanHead::chain_backward(const Run& run, const Tensor& logits, const Tensor& dlogits) const {
  if (chain)
    run.ops.chain_columns_backward({.y = logits,
                                    .dy = dlogits,
                                    .weight = chain->value,
                                    .dweight = run.gradients->sum(*chain),
                                    .from = from,
                                    .to = to});
}

void SpanHead::dense_backward(const Run& run, const Tensor& dlogits, const Tensor& features, const Saved& saved,
                              const Tensor& dfeatures) const {
  if (!dense) return;
  const Tensor dbefore = run.arena.make(run.compute, features.shape);
  outputs.backward(run, dlogits, saved.dense, dbefore, Activation::mish, saved.before);
  dense->backward(run, dbefore, features, dfeatures, Activation::none, {}, /*accumulate=*/true);
}

}  // namespace engine
