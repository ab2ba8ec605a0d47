// This is a pre-layernorm encoder with sinusoidal positions and no layernorm at the trunk's end.
//   r = drop(token embedding + P);  for each layer:  r += drop(attention(norm1(r)));  r += drop(feed_forward(norm2(r)))
//   P[t, 2i] = sin(t / 10000^(2i/C)),  P[t, 2i+1] = cos of the same (Vaswani et al. 2017)
//   masked tokens: logits = W norm(r) + b;  classes: logits = W r0 + b, r0 the first row of a sequence
// The trunk begins with Glorot's uniform weights, a head with normal ones.
#include "models/sinusoidal_encoder.h"

#include "models/architectures.h"
#include "models/blocks.h"
#include "models/positions.h"

namespace engine {

namespace {

class SinusoidalEncoder final : public Model {
 public:
  struct SavedStates final : Saved {
    PreNormStack::Saved stack;
  };

  explicit SinusoidalEncoder(const ModelConfig& config) : Model(config) {
    const int64_t width = config.hidden_size, positions = config.max_positions;
    token_table_ = &parameters_.add("embedding.tokens", {config.vocab_size, width}, Initial::xavier());
    token_table_->is_lookup = true;
    const bool doubled = config.own.get<SinusoidalOptions>().doubled_position_angles;
    positions_ = &parameters_.add_constant(
        {positions, width}, [=](float* to) { write_sinusoids(to, positions, width, doubled ? 2 : 1); });
    embedding_range_ = {0, parameters_.size()};
    embedding_dropout_ = parameters_.add_dropout("embedding", config.dropout);
    stack_ = PreNormStack(parameters_, config, /*causal=*/false, Initial::xavier(), Initial::xavier());
    head_.range.first = parameters_.size();
    if (config.head == HeadKind::masked) {
      head_.norm = ResidualNorm(parameters_, "masked_head.norm", width, config.layer_norm_epsilon, {});
      head_.project_by(Linear(parameters_, "masked_head.projection", width, config.vocab_size,
                              Initial::normal(config.initializer_range)));
    }
    if (config.head == HeadKind::classification)
      add_classifier(parameters_, head_, config, width, config.initializer_range);
    head_.range.last = parameters_.size();
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  Embedded embed(Pass& pass, const Tokens& tokens) override {
    const Tensor x = pass.arena.make(DType::f32, {tokens.ids.count(), config_.hidden_size});
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = pass.layout.positions,
                                .token_table = token_table_->value,
                                .position_table = *positions_,
                                .y = x,
                                .dropout = pass.dropout(embedding_dropout_)});
    return {x, {}};
  }

  Tensor trunk(Pass& pass, const Embedded& embedded, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    return stack_.join(pass, stack_.forward(pass, embedded.x, saved.stack));
  }

  Embedded trunk_backward(Pass& pass, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const StreamGradient d = stack_.make_gradient(pass, dhidden.shape);
    pass.ops.copy({.x = dhidden, .y = d.residual});
    if (!stack_.ends_joined(pass)) stack_.split(pass, d);
    stack_.backward(pass, d, saved.stack);
    return {d.residual, {}};
  }

  void embed_backward(Pass& pass, const Tokens& tokens, const Embedded& dx) override {
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .dy = dx.x,
                                 .dtoken_table = pass.gradients->lookup(*token_table_),
                                 .dropout = pass.dropout(embedding_dropout_),
                                 .touched_blocks = pass.gradients->touched_blocks(*token_table_)});
    pass.done(embedding_range_);
  }

 private:
  Parameter* token_table_;
  const Tensor* positions_;
  DropoutSite embedding_dropout_;
  ParameterRange embedding_range_;
  PreNormStack stack_;
};

}  // namespace

void SinusoidalOptions::declare(Options& options) {
  options.add("model.doubled_position_angles", doubled_position_angles,
              "sinusoidal_encoder: positions' angles with the exponent doubled, as some older models have it");
}

std::unique_ptr<Model> make_sinusoidal_encoder(const ModelConfig& config) {
  return std::make_unique<SinusoidalEncoder>(config);
}

}  // namespace engine
