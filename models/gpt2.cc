// GPT-2 (Radford et al. 2019) is a pre-layernorm decoder with learned positions and tied embeddings.
//   r = token + position embedding;  for each layer:  r += attention(ln1(r));  r += feed_forward(ln2(r));  h = ln(r)
#include "models/gpt2.h"

#include <cmath>

#include "models/architectures.h"
#include "models/blocks.h"

namespace engine {

namespace {

class Gpt2 final : public Model {
 public:
  struct SavedStates final : Saved {
    PreNormStack::Saved stack;
    ResidualNorm::Saved final_norm;
  };

  explicit Gpt2(const ModelConfig& config) : Model(config) {
    const float deviation = config.initializer_range;
    token_table_ =
        &parameters_.add("embedding.tokens", {config.vocab_size, config.hidden_size}, Initial::normal(deviation));
    token_table_->is_factor = true;
    position_table_ =
        &parameters_.add("embedding.positions", {config.max_positions, config.hidden_size}, Initial::normal(deviation));
    embedding_range_ = {0, parameters_.size()};
    embedding_dropout_ = parameters_.add_dropout("embedding", config.own.get<Gpt2Options>().rate_of_embeddings(config));
    // Weights whose results are added to the residual stream begin smaller, by the root of the number of additions.
    const float output_deviation = deviation / std::sqrt(2.0f * static_cast<float>(config.num_layers));
    stack_ = PreNormStack(parameters_, config, /*causal=*/true, Initial::normal(deviation),
                          Initial::normal(output_deviation));
    final_range_.first = parameters_.size();
    final_norm_ = ResidualNorm(parameters_, "final_norm", config.hidden_size, config.layer_norm_epsilon,
                               stack_.branch_dropout);
    final_range_.last = parameters_.size();
    head_.projection = token_table_;
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  std::unique_ptr<DecodeState> make_decode_state(Arena& arena, DType compute, const DecodeSizes& sizes) const override {
    return std::make_unique<KeyValueCache>(arena, compute, sizes, config_.num_layers, config_.hidden_size,
                                           /*with_sources=*/false);
  }

  Embedded embed(Pass& pass, const Tokens& tokens) override {
    const Tensor x = pass.arena.make(DType::f32, {tokens.ids.count(), config_.hidden_size});
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = pass.layout.positions,
                                .token_table = token_table_->value,
                                .position_table = position_table_->value,
                                .y = x,
                                .dropout = pass.dropout(embedding_dropout_)});
    return {x, {}};
  }

  Tensor trunk(Pass& pass, const Embedded& embedded, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Tensor hidden = pass.arena.make(pass.compute, embedded.x.shape);
    const auto [residual, branch] = stack_.forward(pass, embedded.x, saved.stack);
    final_norm_.forward(pass, branch, residual, hidden, saved.final_norm);
    return hidden;
  }

  Embedded trunk_backward(Pass& pass, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const StreamGradient d = stack_.make_gradient(pass, dhidden.shape);
    final_norm_.backward(pass, dhidden, saved.final_norm, stack_.ends_joined(pass) ? StreamGradient{d.residual, {}} : d,
                         /*accumulate=*/false);
    pass.done(final_range_);
    stack_.backward(pass, d, saved.stack);
    return {d.residual, {}};
  }

  void embed_backward(Pass& pass, const Tokens& tokens, const Embedded& dx) override {
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .positions = pass.layout.positions,
                                 .dy = dx.x,
                                 .dtoken_table = pass.gradients->sum(*token_table_),
                                 .dposition_table = pass.gradients->sum(*position_table_),
                                 .dropout = pass.dropout(embedding_dropout_)});
    pass.done(embedding_range_);
  }

 private:
  Parameter* token_table_;
  Parameter* position_table_;
  DropoutSite embedding_dropout_;
  PreNormStack stack_;
  ResidualNorm final_norm_;
  ParameterRange embedding_range_, final_range_;
};

}  // namespace

void Gpt2Options::declare(Options& options) {
  options.add("model.embedding_dropout", embedding_dropout, from_up_to_below(-1, 1),
              "gpt2: share of the embeddings that is dropped in training; -1: as dropout");
}

void Gpt2Options::take_dropouts(const ArchitectureOptions& wanted, const Options& options) {
  if (options.was_set("model.embedding_dropout"))
    embedding_dropout = dynamic_cast<const Gpt2Options&>(wanted).embedding_dropout;
  else if (options.was_set("model.dropout"))
    embedding_dropout = -1;
}

std::unique_ptr<Model> make_gpt2(const ModelConfig& config) { return std::make_unique<Gpt2>(config); }

}  // namespace engine
