// BERT (Devlin et al. 2018) and DistilBERT (Sanh et al. 2019) are post-layernorm encoders with learned positions.
//   x = drop(norm(token + position + type embedding));  for each layer:
//   h = norm1(x + drop(attention(x)));  x = norm2(h + drop(feed_forward(h)))
//   masked tokens: logits = norm(act(W x + b)) E^T + c, E the token embedding
//   classes:       logits = W' drop(tanh(W x0 + b)) + b', x0 the first row of a sequence
//   answers:       logits = W drop(x) + b, two of every row
#include "models/bert.h"

#include "models/architectures.h"
#include "models/blocks.h"

namespace engine {

namespace {

class Bert final : public Model {
 public:
  struct SavedStates final : Saved {
    PostNormStack::Saved stack;
  };

  // type_vocab_size 0 makes a model without token types. `pooled` is the activation of the pooler.
  Bert(const ModelConfig& config, int64_t type_vocab_size, Activation pooled, const PostNormStyle& style = {})
      : Model(config) {
    const int64_t width = config.hidden_size;
    const Initial initial = Initial::normal(config.initializer_range);
    token_table_ = &parameters_.add("embedding.tokens", {config.vocab_size, width}, initial);
    position_table_ = &parameters_.add("embedding.positions", {config.max_positions, width}, initial);
    if (type_vocab_size) type_table_ = &parameters_.add("embedding.types", {type_vocab_size, width}, initial);
    embedding_range_ = {0, parameters_.size()};
    stack_ = PostNormStack(parameters_, config, "", config.num_layers, /*decoder=*/false, initial, style);
    head_.range.first = parameters_.size();
    add_head(initial, pooled);
    head_.range.last = parameters_.size();
    token_table_->is_lookup = head_.projection != token_table_;
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  Embedded embed(Pass& pass, const Tokens& tokens) override {
    const Tensor x = pass.arena.make(DType::f32, {tokens.ids.count(), config_.hidden_size});
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = pass.layout.positions,
                                .types = types_of(pass, tokens),
                                .token_table = token_table_->value,
                                .position_table = position_table_->value,
                                .type_table = type_table_ ? type_table_->value : Tensor{},
                                .y = x});
    return {x, {}};
  }

  Tensor trunk(Pass& pass, const Embedded& embedded, Saved& saved) override {
    return stack_.forward(pass, embedded.x, static_cast<SavedStates&>(saved).stack, {}, pass.outputs);
  }

  Embedded trunk_backward(Pass& pass, const Tensor& dhidden, Saved& saved) override {
    return {stack_.backward(pass, dhidden, static_cast<SavedStates&>(saved).stack), {}};
  }

  void embed_backward(Pass& pass, const Tokens& tokens, const Embedded& dx) override {
    pass.ops.embedding_backward({.tokens = tokens.ids,
                                 .positions = pass.layout.positions,
                                 .types = types_of(pass, tokens),
                                 .dy = dx.x,
                                 .dtoken_table = pass.gradients->sum(*token_table_),
                                 .dposition_table = pass.gradients->sum(*position_table_),
                                 .dtype_table = type_table_ ? pass.gradients->sum(*type_table_) : Tensor{},
                                 .touched_blocks = pass.gradients->touched_blocks(*token_table_)});
    pass.done(embedding_range_);
  }

 private:
  // Returns the token types, i32 [N], which are absent for a model without types.
  Tensor types_of(const Pass& pass, const Tokens& tokens) const {
    if (!type_table_ || tokens.types) return type_table_ ? tokens.types : Tensor{};
    return pass.arena.make_zeros(DType::i32, {tokens.ids.count()});
  }

  void add_head(Initial initial, Activation pooled) {
    const int64_t width = config_.hidden_size;
    if (config_.head == HeadKind::masked) {
      head_.dense = Linear(parameters_, "masked_head.dense", width, width, initial);
      head_.activation = activation_named(config_.activation);
      head_.norm = ResidualNorm(parameters_, "masked_head.norm", width, config_.layer_norm_epsilon, {});
      head_.projection = token_table_;
      token_table_->is_factor = true;
      head_.bias = &parameters_.add("masked_head.bias", {config_.vocab_size}, Initial::zeros());
      return;
    }
    if (config_.head == HeadKind::question_answering) return add_span_outputs(parameters_, head_, config_, width);
    if (config_.head == HeadKind::classification || config_.pooler) {
      head_.dense = Linear(parameters_, "pooler", width, width, initial);
      head_.activation = pooled;
    }
    if (config_.head == HeadKind::classification)
      add_classifier(parameters_, head_, config_, width, config_.initializer_range);
  }

  Parameter* token_table_;
  Parameter* position_table_;
  Parameter* type_table_ = nullptr;
  ParameterRange embedding_range_;
  PostNormStack stack_;
};

}  // namespace

std::unique_ptr<Model> make_bert(const ModelConfig& config) {
  return std::make_unique<Bert>(config, config.own.get<BertOptions>().type_vocab_size, Activation::tanh);
}

std::unique_ptr<Model> make_distilbert(const ModelConfig& config) {
  // Nothing drops from what its attention adds.
  return std::make_unique<Bert>(config, /*type_vocab_size=*/0, Activation::relu,
                                PostNormStyle{.attended_dropout = 0});
}

}  // namespace engine
