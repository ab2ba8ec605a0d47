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
    ResidualNorm::Saved norm;
    std::vector<PostNormBlock::Saved> blocks;
  };

  explicit Bert(const ModelConfig& config) : EncoderModel(config) {
    const int64_t width = config.hidden_size;
    const Initial initial = Initial::normal(config.initializer_range);
    token_table_ = &parameters_.add("embedding.tokens", {config.vocab_size, width}, initial);
    position_table_ = &parameters_.add("embedding.positions", {config.max_positions, width}, initial);
    if (config.type_vocab_size)
      type_table_ = &parameters_.add("embedding.types", {config.type_vocab_size, width}, initial);
    embedding_norm_ = ResidualNorm(parameters_, "embedding.norm", width, config.layer_norm_epsilon, {});
    embedding_dropout_ = parameters_.add_dropout(config.dropout);
    for (int64_t layer = 0; layer < config.num_layers; ++layer)
      blocks_.emplace_back(parameters_, config, static_cast<int>(layer), initial);
    add_head(initial);
  }

  std::unique_ptr<Saved> make_saved() const override {
    auto saved = std::make_unique<SavedStates>();
    saved->blocks.resize(blocks_.size());
    return saved;
  }

  Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Shape shape{tokens.ids.count(), config_.hidden_size};
    const Tensor x = pass.arena.make(DType::f32, shape), middle = pass.arena.make(DType::f32, shape);
    const Tensor branch = pass.arena.make(pass.compute, shape);
    const Tensor embedded = pass.keep ? pass.arena.make(DType::f32, shape) : middle;
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
    embedding_norm_.forward(pass, {}, embedded, x, saved.norm);
    drop_embedding(pass, x);
    for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i].forward(pass, x, middle, branch, saved.blocks[i]);
    return x;
  }

  void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const ArenaScope scope(pass.arena);
    const Tensor dx = pass.arena.make(DType::f32, dhidden.shape), dmiddle = pass.arena.make(DType::f32, dhidden.shape);
    Tensor input = pass.arena.make(pass.recompute ? DType::f32 : pass.compute, dhidden.shape);
    for (size_t i = blocks_.size(); i-- > 0;) {
      if (i) {
        blocks_[i - 1].output_again(pass, saved.blocks[i - 1], input);
      } else {
        // Dropping is a product: of numbers in bf16 it would round twice what was rounded once in the forward pass.
        const bool drops = pass.dropout(embedding_dropout_).rate > 0;
        if (drops && input.dtype != DType::f32) input = pass.arena.make(DType::f32, dhidden.shape);
        embedding_norm_.again(pass, saved.norm, input);
        drop_embedding(pass, input);
      }
      blocks_[i].backward(pass, i + 1 == blocks_.size() ? dhidden : dx, input, dx, dmiddle, saved.blocks[i]);
    }
    drop_embedding(pass, dx);
    embedding_norm_.backward(pass, dx, saved.norm, dmiddle, dmiddle, /*accumulate=*/false);
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .positions = tokens.positions,
                                 .types = saved.types,
                                 .dy = dmiddle,
                                 .dtoken_table = token_table_->gradient,
                                 .dposition_table = position_table_->gradient,
                                 .dtype_table = type_table_ ? type_table_->gradient : Tensor{}});
  }

 private:
  void add_head(Initial initial) {
    const int64_t width = config_.hidden_size;
    if (config_.head == Head::masked) {
      features_.dense = Linear(parameters_, "masked_head.dense", width, width, initial);
      features_.activation = activation_named(config_.activation);
      features_.norm = ResidualNorm(parameters_, "masked_head.norm", width, config_.layer_norm_epsilon, {});
      projection_ = token_table_;
      projection_bias_ = &parameters_.add("masked_head.bias", {config_.vocab_size}, Initial::zeros());
      return;
    }
    if (config_.head == Head::classification || config_.pooler) {
      features_.dense = Linear(parameters_, "pooler", width, width, initial);
      features_.activation = config_.architecture == "distilbert" ? Activation::relu : Activation::tanh;
    }
    if (config_.head == Head::classification) add_classifier(width, config_.initializer_range);
  }

  // In place: forward of the embeddings and, on their gradient, backward.
  void drop_embedding(Pass& pass, const Tensor& x) const {
    const Dropout dropout = pass.dropout(embedding_dropout_);
    if (dropout.rate > 0) pass.ops.dropout({.x = x, .y = x, .dropout = dropout});
  }

  Parameter* token_table_;
  Parameter* position_table_;
  Parameter* type_table_ = nullptr;
  ResidualNorm embedding_norm_;
  DropoutLayer embedding_dropout_;
  std::vector<PostNormBlock> blocks_;
};

}  // namespace

std::unique_ptr<EncoderModel> make_bert(const ModelConfig& config) { return std::make_unique<Bert>(config); }

}  // namespace engine
