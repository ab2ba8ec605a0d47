#include "models/causal_model.h"

#include "models/gpt2.h"

namespace engine {

std::unique_ptr<CausalModel> make_causal_model(const ModelConfig& config) {
  const auto check = [](int64_t value, int64_t most, const char* name) {
    if (value < 1 || value > most) fail_usage("model.", name, " is ", value, ": it must be from 1 to ", most);
  };
  check(config.hidden_size, most_width, "hidden_size");
  check(config.num_layers, most_layers, "num_layers");
  check(config.num_heads, most_width, "num_heads");
  check(config.inner_size(), most_inner, "ffn_size");
  check(config.vocab_size, most_rows, "vocab_size");
  check(config.max_positions, most_rows, "max_positions");
  if (config.hidden_size % config.num_heads)
    fail_usage("model.hidden_size ", config.hidden_size, " is not a multiple of model.num_heads ", config.num_heads);
  if (config.hidden_size / config.num_heads > 128)
    fail_usage("model.hidden_size / model.num_heads is ", config.hidden_size / config.num_heads,
               ": a head is at most 128 wide");
  if (config.architecture == "gpt2") return make_gpt2(config);
  fail_usage("model.architecture \"", config.architecture, "\" is not a decoder: gpt2");
}

void causal_loss(Pass& pass, CausalModel& model, const LossArgs& args, CausalModel::Saved& saved) {
  const ArenaScope scope(pass.arena);
  const Tensor hidden = model.forward(pass, args.tokens, saved);
  const Shape scored_shape{args.scored_rows.count(), hidden.cols()};
  const bool all_rows = args.scored_rows.count() == hidden.rows();
  Tensor scored = hidden;
  if (!all_rows) {
    scored = pass.arena.make(hidden.dtype, scored_shape);
    pass.ops.gather_rows({.x = hidden, .index = args.scored_rows, .y = scored});
  }
  const Tensor dscored = args.gradients ? pass.arena.make(hidden.dtype, scored_shape) : Tensor{};
  Parameter& projection = model.output_projection();
  pass.ops.cross_entropy({.x = scored,
                          .weight = projection.value,
                          .labels = args.labels,
                          .label_smoothing = args.label_smoothing,
                          .compute = pass.compute,
                          .totals = args.totals,
                          .row_losses = args.row_losses,
                          .gradient_scale = args.gradient_scale,
                          .dx = dscored,
                          .dweight = args.gradients ? projection.gradient : Tensor{}});
  if (!args.gradients) return;
  Tensor dhidden = dscored;
  if (!all_rows) {
    dhidden = pass.arena.make_zeros(hidden.dtype, hidden.shape);
    pass.ops.scatter_rows({.x = dscored, .index = args.scored_rows, .y = dhidden});
  }
  model.backward(pass, args.tokens, dhidden, saved);
}

Tensor causal_logits(Pass& pass, CausalModel& model, const Tokens& tokens, const Tensor& rows,
                     CausalModel::Saved& saved) {
  const Parameter& projection = model.output_projection();
  const int64_t count = rows ? rows.count() : tokens.ids.count();
  const Tensor logits = pass.arena.make(DType::f32, {count, projection.shape[0]});
  const ArenaScope scope(pass.arena);
  const Tensor hidden = model.forward(pass, tokens, saved);
  Tensor scored = hidden;
  if (rows) {
    scored = pass.arena.make(hidden.dtype, {count, hidden.cols()});
    pass.ops.gather_rows({.x = hidden, .index = rows, .y = scored});
  }
  pass.ops.matmul({.a = scored,
                   .b = projection.value,
                   .c = logits,
                   .transpose_b = true,
                   .compute = pass.compute,
                   .packed_b = projection.packed_compute == pass.compute ? projection.packed : Tensor{}});
  return logits;
}

}  // namespace engine
