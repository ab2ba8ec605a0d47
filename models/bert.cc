// BERT (Devlin et al. 2018) and DistilBERT (Sanh et al. 2019): a post-layernorm encoder with learned positions.
//   x = drop(norm(token + position + type embedding));  for each layer:
//   h = norm1(x + drop(attention(x)));  x = norm2(h + drop(feed_forward(h)))
// Masked tokens: logits = norm(act(W x + b)) E^T + c, E the token embedding. Classes: logits = W' drop(tanh(W x0 + b))
// + b', x0 the first row of a sequence.
#include "models/bert.h"

#include "models/blocks.h"

namespace engine {

namespace {

class Bert final : public EncoderModel {
 public:
  struct SavedStates final : EncoderSaved {
    Tensor types;  // i32 [N], where the model has them
    PostNormStack::Saved stack;
  };

  explicit Bert(const ModelConfig& config) : EncoderModel(config) {
    const int64_t width = config.hidden_size;
    const Initial initial = Initial::normal(config.initializer_range);
    token_table_ = &parameters_.add("embedding.tokens", {config.vocab_size, width}, initial);
    position_table_ = &parameters_.add("embedding.positions", {config.max_positions, width}, initial);
    if (config.type_vocab_size)
      type_table_ = &parameters_.add("embedding.types", {config.type_vocab_size, width}, initial);
    stack_ = PostNormStack(parameters_, config, "", config.num_layers, /*decoder=*/false, initial);
    add_head(initial);
    token_table_->is_lookup = projection_ != token_table_;
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Tensor embedded = pass.arena.make(DType::f32, {tokens.ids.count(), config_.hidden_size});
    saved.types = !type_table_   ? Tensor{}
                  : tokens.types ? tokens.types
                                 : pass.arena.make_zeros(DType::i32, {tokens.ids.count()});
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = tokens.positions,
                                .types = saved.types,
                                .token_table = token_table_->value,
                                .position_table = position_table_->value,
                                .type_table = type_table_ ? type_table_->value : Tensor{},
                                .y = embedded});
    return stack_.forward(pass, embedded, saved.stack, {}, tokens.asked);
  }

  void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const ArenaScope scope(pass.arena);
    const Tensor dembedded = stack_.backward(pass, dhidden, saved.stack);
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .positions = tokens.positions,
                                 .types = saved.types,
                                 .dy = dembedded,
                                 .dtoken_table = token_table_->gradient,
                                 .dposition_table = position_table_->gradient,
                                 .dtype_table = type_table_ ? type_table_->gradient : Tensor{},
                                 .touched_blocks = token_table_->touched_blocks});
  }

 private:
  void add_head(Initial initial) {
    const int64_t width = config_.hidden_size;
    if (config_.head == Head::masked) {
      features_.dense = Linear(parameters_, "masked_head.dense", width, width, initial);
      features_.activation = activation_named(config_.activation);
      features_.norm = ResidualNorm(parameters_, "masked_head.norm", width, config_.layer_norm_epsilon, {});
      projection_ = token_table_;
      token_table_->is_factor = true;
      projection_bias_ = &parameters_.add("masked_head.bias", {config_.vocab_size}, Initial::zeros());
      return;
    }
    if (config_.head == Head::classification || config_.pooler) {
      features_.dense = Linear(parameters_, "pooler", width, width, initial);
      features_.activation = config_.architecture == "distilbert" ? Activation::relu : Activation::tanh;
    }
    if (config_.head == Head::classification) add_classifier(width, config_.initializer_range);
  }

  Parameter* token_table_;
  Parameter* position_table_;
  Parameter* type_table_ = nullptr;
  PostNormStack stack_;
};

}  // namespace

std::unique_ptr<EncoderModel> make_bert(const ModelConfig& config) { return std::make_unique<Bert>(config); }

}  // namespace engine
