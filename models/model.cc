#include "models/model.h"

#include <algorithm>

#include "kernels/losses/cross_entropy.h"

namespace engine {

Tensor rows_of(Pass& pass, const Tensor& hidden, const Tensor& rows) {
  const bool all = !rows || rows.count() == hidden.rows();
  if (all && hidden.dtype == pass.compute) return hidden;
  const Tensor result = pass.arena.make(pass.compute, {all ? hidden.rows() : rows.count(), hidden.cols()});
  if (all) pass.ops.copy({.x = hidden, .y = result});
  else pass.ops.gather_rows({.x = hidden, .index = rows, .y = result});
  return result;
}

namespace {

// Ranks and the likeliest, as far as they are asked for, of features [R, E]; some rows' logits at a time.
void look_at_logits(Pass& pass, Model& model, const Tensor& features, const LossArgs& args) {
  const int64_t rows = features.rows(), outputs = model.output_projection().shape[0];
  const int64_t chunk = rows_within(int64_t{24} << 20, rows, outputs * 4, 2048);
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const ArenaScope scope(pass.arena);
    const int64_t end = std::min(rows, begin + chunk);
    const auto part = [&](const Tensor& all) {
      return all.reshaped({rows, 1}).row_range(begin, end).reshaped({end - begin});
    };
    const Tensor logits = pass.arena.make(DType::f32, {end - begin, outputs});
    project(pass, model, features.row_range(begin, end), logits);
    if (args.ranks) pass.ops.rank({.logits = logits, .tokens = part(args.labels), .ranks = part(args.ranks)});
    if (args.likeliest) pass.ops.sample({.logits = logits, .tokens = part(args.likeliest)});
  }
}

}  // namespace

void check_sizes(const ModelConfig& config) {
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
}

void model_loss(Pass& pass, Model& model, const LossArgs& args, Model::Saved& saved) {
  const ArenaScope scope(pass.arena);
  ExtraLoss* const extra = args.gradients ? args.extra : nullptr;
  Tokens tokens = args.tokens;
  if (extra) {
    tokens.asked = {};  // it learns from all hidden states
    extra->begin(pass, tokens, args.scored_rows);
  }
  const Tensor hidden = model.forward(pass, tokens, saved);
  const Tensor rows = rows_of(pass, hidden, args.scored_rows);
  const Tensor features = model.head_forward(pass, rows, saved);
  const Tensor dfeatures = args.gradients ? pass.arena.make(pass.compute, features.shape) : Tensor{};
  Parameter& projection = model.output_projection();
  Parameter* const bias = model.output_bias();
  pass.ops.cross_entropy({.x = features,
                          .weight = projection.factor(pass.compute),
                          .bias = bias ? bias->value : Tensor{},
                          .labels = args.labels,
                          .label_smoothing = args.label_smoothing,
                          .compute = pass.compute,
                          .totals = args.totals,
                          .row_losses = args.row_losses,
                          .gradient_scale = args.gradient_scale,
                          .dx = dfeatures,
                          .dweight = args.gradients ? projection.gradient_to_add_to() : Tensor{},
                          .dbias = args.gradients && bias ? bias->gradient : Tensor{}});
  if (args.ranks || args.likeliest) look_at_logits(pass, model, features, args);
  if (!args.gradients) return;
  if (extra) extra->add_at_features(pass, features, dfeatures);
  Tensor dhidden = model.head_backward(pass, dfeatures, rows, saved);
  if (rows.rows() != hidden.rows()) {
    const Tensor drows = dhidden;
    dhidden = pass.arena.make_zeros(drows.dtype, hidden.shape);
    pass.ops.scatter_rows({.x = drows, .index = args.scored_rows, .y = dhidden});
  }
  if (extra) extra->add_at_hidden(pass, hidden, dhidden);
  model.backward(pass, tokens, dhidden, saved);
}

Tensor model_features(Pass& pass, Model& model, const Tokens& tokens, const Tensor& rows, Model::Saved& saved) {
  return model.head_forward(pass, rows_of(pass, model.forward(pass, tokens, saved), rows), saved);
}

void project(Pass& pass, Model& model, const Tensor& features, const Tensor& logits) {
  const Parameter& projection = model.output_projection();
  const Parameter* const bias = model.output_bias();
  pass.ops.matmul({.a = features,
                   .b = projection.factor(pass.compute),
                   .c = logits,
                   .transpose_b = true,
                   .compute = pass.compute,
                   .packed_b = projection.packed_compute == pass.compute ? projection.packed : Tensor{},
                   .bias = bias ? bias->value : Tensor{}});
}

Tensor model_logits(Pass& pass, Model& model, const Tokens& tokens, const Tensor& rows, Model::Saved& saved) {
  const int64_t count = rows ? rows.count() : tokens.ids.count();
  const Tensor logits = pass.arena.make(DType::f32, {count, model.output_projection().shape[0]});
  const ArenaScope scope(pass.arena);
  project(pass, model, model_features(pass, model, tokens, rows, saved), logits);
  return logits;
}

}  // namespace engine
