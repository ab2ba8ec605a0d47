// GPT-2 (Radford et al. 2019): a pre-layernorm decoder with learned positions and tied embeddings.
//   r = token + position embedding;  for each layer:  r += attention(ln1(r));  r += feed_forward(ln2(r));  h = ln(r)
#include "models/gpt2.h"

#include <cmath>

#include "models/blocks.h"

namespace engine {

namespace {

class Gpt2 final : public CausalModel {
 public:
  struct SavedStates final : Saved {
    PreNormStack::Saved stack;
    ResidualNorm::Saved final_norm;
  };

  explicit Gpt2(const ModelConfig& config) : CausalModel(config) {
    const float deviation = config.initializer_range;
    token_table_ =
        &parameters_.add("embedding.tokens", {config.vocab_size, config.hidden_size}, Initial::normal(deviation));
    token_table_->is_factor = true;
    position_table_ =
        &parameters_.add("embedding.positions", {config.max_positions, config.hidden_size}, Initial::normal(deviation));
    embedding_dropout_ = parameters_.add_dropout(config.dropout);
    // What is added to the residual stream begins smaller, by the root of the number of additions.
    const float output_deviation = deviation / std::sqrt(2.0f * static_cast<float>(config.num_layers));
    stack_ = PreNormStack(parameters_, config, /*causal=*/true, Initial::normal(deviation),
                          Initial::normal(output_deviation));
    final_norm_ = ResidualNorm(parameters_, "final_norm", config.hidden_size, config.layer_norm_epsilon,
                               stack_.branch_dropout);
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Shape shape{tokens.ids.count(), config_.hidden_size};
    const Tensor embedded = pass.arena.make(DType::f32, shape), hidden = pass.arena.make(pass.compute, shape);
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = tokens.positions,
                                .token_table = token_table_->value,
                                .position_table = position_table_->value,
                                .y = embedded,
                                .dropout = pass.dropout(embedding_dropout_)});
    const auto [residual, branch] = stack_.forward(pass, embedded, saved.stack);
    final_norm_.forward(pass, branch, residual, hidden, saved.final_norm);
    return hidden;
  }

  void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const ArenaScope scope(pass.arena);
    const Tensor dresidual = pass.arena.make(DType::f32, dhidden.shape);
    // One tensor serves as every layer's branch gradient: it is apart from dresidual where any layer needs it to be.
    const Tensor dbranch = final_norm_.gradient_of_branch(pass, dresidual);
    final_norm_.backward(pass, dhidden, saved.final_norm, dresidual, dbranch, /*accumulate=*/false);
    stack_.backward(pass, dresidual, dbranch, saved.stack);
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .positions = tokens.positions,
                                 .dy = dresidual,
                                 .dtoken_table = token_table_->gradient,
                                 .dposition_table = position_table_->gradient,
                                 .dropout = pass.dropout(embedding_dropout_)});
  }

  Parameter& output_projection() override { return *token_table_; }

 private:
  Parameter* token_table_;
  Parameter* position_table_;
  DropoutLayer embedding_dropout_;
  PreNormStack stack_;
  ResidualNorm final_norm_;
};

}  // namespace

std::unique_ptr<CausalModel> make_gpt2(const ModelConfig& config) { return std::make_unique<Gpt2>(config); }

}  // namespace engine
