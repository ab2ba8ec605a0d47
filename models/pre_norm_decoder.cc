#include "models/pre_norm_decoder.h"

#include <cmath>

#include "models/blocks.h"
#include "models/positions.h"

namespace engine {

namespace {

class PreNormDecoder final : public Model {
 public:
  struct SavedStates final : Saved {
    PreNormStack::Saved stack;
    ResidualNorm::Saved final_norm;
  };

  PreNormDecoder(const ModelConfig& config, const PreNormDecoderStyle& style) : Model(config) {
    const float deviation = config.initializer_range;
    const auto table = [&](const char* name, int64_t rows) {
      return &parameters_.add(name, {rows, config.hidden_size}, Initial::normal(deviation));
    };
    token_table_ = table("embedding.tokens", config.vocab_size);
    if (style.positions != "rotary") add_position_table(style.positions);
    embedding_range_ = {0, parameters_.size()};
    embedding_dropout_ = parameters_.add_dropout("embedding", style.embedding_dropout);
    if (style.positions != "rotary")
      position_dropout_ = parameters_.add_dropout("positions", config.own.get<PositionTableOptions>().dropout);
    // Weights whose results are added to the residual stream begin smaller, by the root of the number of additions.
    const float output_deviation = deviation / std::sqrt(2.0f * static_cast<float>(config.num_layers));
    stack_ = PreNormStack(parameters_, config, /*causal=*/true, Initial::normal(deviation),
                          Initial::normal(output_deviation),
                          {.is_parallel = style.is_parallel,
                           .attention_bias = style.attention_bias,
                           .rotary = style.positions == "rotary" ? &add_rotary_table() : nullptr});
    final_range_.first = parameters_.size();
    final_norm_ = ResidualNorm(parameters_, "final_norm", config.hidden_size, config.layer_norm_epsilon,
                               stack_.branch_dropout);
    final_range_.last = parameters_.size();
    head_.range.first = parameters_.size();
    head_.projection = style.is_tied ? token_table_ : table("lm_head.weight", config.vocab_size);
    head_.range.last = parameters_.size();
    head_.projection->is_factor = true;
    token_table_->is_tied = style.is_tied;
    token_table_->is_lookup = !style.is_tied;
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  std::unique_ptr<DecodeState> make_decode_state(Arena& arena, DType compute, const DecodeSizes& sizes) const override {
    return std::make_unique<KeyValueCache>(arena, compute, sizes, config_.num_layers, config_.hidden_size,
                                           /*with_sources=*/false);
  }

  Embedded embed(Pass& pass, const Tokens& tokens) override {
    const Tensor x = pass.arena.make(DType::f32, {tokens.ids.count(), config_.hidden_size});
    const Tensor table = position_table_ ? position_table_->value : fixed_table_ ? *fixed_table_ : Tensor{};
    const Dropout drops = pass.dropout(position_dropout_);
    const bool is_apart = drops.rate > 0;
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = table && !is_apart ? pass.layout.positions : Tensor{},
                                .token_table = token_table_->value,
                                .position_table = is_apart ? Tensor{} : table,
                                .y = x,
                                .dropout = is_apart ? Dropout{} : pass.dropout(embedding_dropout_)});
    if (!is_apart) return {x, {}};
    const ArenaScope scope(pass.arena);
    const Tensor positions = pass.arena.make(DType::f32, x.shape);
    pass.ops.embedding_forward({.tokens = pass.layout.positions, .token_table = table, .y = positions});
    pass.ops.dropout({.x = positions, .residual = x, .y = x, .dropout = drops});
    drop_from_sum(pass, x);
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
    const Dropout drops = pass.dropout(position_dropout_);
    const bool is_apart = position_table_ && drops.rate > 0;
    const ArenaScope scope(pass.arena);
    Tensor dy = dx.x;
    if (is_apart) {
      dy = pass.arena.make(DType::f32, dx.x.shape);
      pass.ops.copy({.x = dx.x, .y = dy});
      drop_from_sum(pass, dy);
      pass.ops.embedding_backward({.tokens = pass.layout.positions,
                                   .dy = dy,
                                   .dtoken_table = pass.gradients->sum(*position_table_),
                                   .dropout = drops});
    }
    const bool is_joint = position_table_ && !is_apart;
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .positions = is_joint ? pass.layout.positions : Tensor{},
                                 .dy = dy,
                                 .dtoken_table = pass.gradients->lookup(*token_table_),
                                 .dposition_table = is_joint ? pass.gradients->sum(*position_table_) : Tensor{},
                                 .dropout = is_apart ? Dropout{} : pass.dropout(embedding_dropout_),
                                 .touched_blocks = pass.gradients->touched_blocks(*token_table_)});
    pass.done(embedding_range_);
  }

 private:
  // Drops from the sum of both embeddings, or from its gradient, where they were added apart.
  void drop_from_sum(Pass& pass, const Tensor& x) const {
    const Dropout drops = pass.dropout(embedding_dropout_);
    if (drops.rate > 0) pass.ops.dropout({.x = x, .y = x, .dropout = drops});
  }
  void add_position_table(const std::string& positions) {
    const auto& own = config_.own.get<PositionTableOptions>();
    const int64_t rows = config_.max_positions, width = config_.hidden_size;
    const bool is_sinusoidal = positions == "sinusoidal" || own.random_table == "sinusoidal";
    if (positions != "learned" && !own.trained) {
      fixed_table_ = &parameters_.add_constant({rows, width}, [=](float* to) {
        if (is_sinusoidal) write_sinusoids(to, rows, width);
        else write_normal_positions(to, rows, width);
      });
      return;
    }
    const Initial initial = positions == "learned" ? Initial::normal(config_.initializer_range)
                            : is_sinusoidal        ? Initial::sinusoids()
                                                   : Initial::normal(deviation_of_positions(rows, width));
    position_table_ = &parameters_.add("embedding.positions", {rows, width}, initial);
  }
  const Tensor& add_rotary_table() {
    const auto& own = config_.own.get<RotaryOptions>();
    const int64_t positions = config_.max_positions, dims = own.dims(config_);
    return parameters_.add_constant(
        {positions, dims}, [=, base = own.base](float* to) { rotary_table(to, positions, dims, base); });
  }

  Parameter* token_table_;
  Parameter* position_table_ = nullptr;  // that is trained
  const Tensor* fixed_table_ = nullptr;
  DropoutSite embedding_dropout_, position_dropout_;
  PreNormStack stack_;
  ResidualNorm final_norm_;
  ParameterRange embedding_range_, final_range_;
};

}  // namespace

std::unique_ptr<Model> make_pre_norm_decoder(const ModelConfig& config, const PreNormDecoderStyle& style) {
  return std::make_unique<PreNormDecoder>(config, style);
}

}  // namespace engine
