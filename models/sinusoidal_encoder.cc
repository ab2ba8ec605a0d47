// A pre-layernorm encoder with sinusoidal positions and no layernorm at the trunk's end.
//   r = drop(token embedding + P);  for each layer:  r += drop(attention(norm1(r)));  r += drop(feed_forward(norm2(r)))
//   P[t, 2i] = sin(t / 10000^(2i/C)),  P[t, 2i+1] = cos of the same (Vaswani et al. 2017)
// Masked tokens: logits = W norm(r) + b. Classes: logits = W r0 + b, r0 the first row of a sequence. The trunk begins
// with Glorot's uniform weights, a head with normal ones.
#include "models/sinusoidal_encoder.h"

#include <cmath>

#include "models/blocks.h"

namespace engine {

namespace {

void write_positions(float* table, int64_t positions, int64_t width, bool doubled) {
  for (int64_t t = 0; t < positions; ++t)
    for (int64_t i = 0; i < width; ++i) {
      const double exponent = static_cast<double>(i / 2 * 2) / static_cast<double>(width) * (doubled ? 2 : 1);
      const double angle = static_cast<double>(t) / std::pow(10000.0, exponent);
      table[t * width + i] = static_cast<float>(i % 2 ? std::cos(angle) : std::sin(angle));
    }
}

class SinusoidalEncoder final : public EncoderModel {
 public:
  struct SavedStates final : EncoderSaved {
    PreNormStack::Saved stack;
  };

  explicit SinusoidalEncoder(const ModelConfig& config) : EncoderModel(config) {
    const int64_t width = config.hidden_size, positions = config.max_positions;
    token_table_ = &parameters_.add("embedding.tokens", {config.vocab_size, width}, Initial::xavier());
    token_table_->is_lookup = true;
    const bool doubled = config.doubled_position_angles;
    positions_ = &parameters_.add_constant(
        {positions, width}, [=](float* to) { write_positions(to, positions, width, doubled); });
    embedding_dropout_ = parameters_.add_dropout(config.dropout);
    stack_ = PreNormStack(parameters_, config, /*causal=*/false, Initial::xavier(), Initial::xavier());
    if (config.head == Head::masked) {
      features_.norm = ResidualNorm(parameters_, "masked_head.norm", width, config.layer_norm_epsilon, {});
      const Linear projection(parameters_, "masked_head.projection", width, config.vocab_size,
                              Initial::normal(config.initializer_range));
      projection_ = projection.weight;
      projection_bias_ = projection.bias;
    }
    if (config.head == Head::classification) add_classifier(width, config.initializer_range);
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Shape shape{tokens.ids.count(), config_.hidden_size};
    const Tensor embedded = pass.arena.make(DType::f32, shape), hidden = pass.arena.make(DType::f32, shape);
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = tokens.positions,
                                .token_table = token_table_->value,
                                .position_table = *positions_,
                                .y = embedded,
                                .dropout = pass.dropout(embedding_dropout_)});
    const auto [residual, branch] = stack_.forward(pass, embedded, saved.stack);
    pass.ops.dropout(
        {.x = branch, .residual = residual, .y = hidden, .dropout = pass.dropout(stack_.branch_dropout)});
    return hidden;
  }

  void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const ArenaScope scope(pass.arena);
    const Tensor dresidual = pass.arena.make(DType::f32, dhidden.shape);
    const Tensor dbranch = gradient_of_branch(pass, stack_.branch_dropout, dresidual);
    pass.ops.copy({.x = dhidden, .y = dresidual});
    if (dbranch.data != dresidual.data)
      pass.ops.dropout({.x = dhidden, .y = dbranch, .dropout = pass.dropout(stack_.branch_dropout)});
    stack_.backward(pass, dresidual, dbranch, saved.stack);
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .dy = dresidual,
                                 .dtoken_table = token_table_->gradient,
                                 .dropout = pass.dropout(embedding_dropout_),
                                 .touched_blocks = token_table_->touched_blocks});
  }

 private:
  Parameter* token_table_;
  const Tensor* positions_;
  DropoutLayer embedding_dropout_;
  PreNormStack stack_;
};

}  // namespace

std::unique_ptr<EncoderModel> make_sinusoidal_encoder(const ModelConfig& config) {
  return std::make_unique<SinusoidalEncoder>(config);
}

}  // namespace engine
