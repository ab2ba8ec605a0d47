// BERT (Devlin et al. 2018), DistilBERT (Sanh et al. 2019), RoBERTa (Liu et al. 2019), XLM-R (Conneau et al. 2019) and
// RemBERT (Chung et al. 2020) are post-layernorm encoders with learned positions.
//   x = drop(norm(token + position + type embedding));  for each layer:
//   h = norm1(x + drop(attention(x)));  x = norm2(h + drop(feed_forward(h)))
//   masked tokens: logits = norm(act(W x + b)) E^T + c, E the token embedding or, untied, a table of its own
//   classes:       logits = W' drop(tanh(W x0 + b)) + b', x0 the first row of a sequence
//   answers:       logits = W drop(x) + b, two of every row
// RoBERTa drops from x0, too, and its masked tokens have GELU whatever the layers have. RemBERT's embeddings have a
// width of their own. A linear layer takes them to that of the layers, x = M drop(norm(...)) + m, and an E of their
// own, of another width, scores masked tokens.
#include "models/bert.h"

#include "models/architectures.h"
#include "models/blocks.h"
#include "models/tied_options.h"

namespace engine {

namespace {

// These are the properties in which the architectures differ.
struct BertStyle {
  int64_t type_vocab_size = 2;        // 0: no token types
  int64_t unused_positions = 0;       // first rows of the position table that belong to no position
  PostNormStyle stack = {};
  Activation pooled = Activation::tanh;  // of the pooler
  bool classifier_has_dense = false;  // a dense layer of the classifier, with dropout before it, in the pooler's place
  std::string masked_activation = ModelConfig::open_activation;  // of the head for masked tokens; open: the layers'
  int64_t output_embedding_size = 0;  // width of a table that scores masked tokens; 0: the token embedding does
};

class Bert final : public Model {
 public:
  struct SavedStates final : Saved {
    PostNormStack::Saved stack;
  };

  Bert(const ModelConfig& config, const BertStyle& style) : Model(config), unused_positions_(style.unused_positions) {
    width_ = style.stack.embedding_size ? style.stack.embedding_size : config.hidden_size;
    const Initial initial = Initial::normal(config.initializer_range);
    const auto table = [&](const char* name, int64_t rows) { return &parameters_.add(name, {rows, width_}, initial); };
    token_table_ = table("embedding.tokens", config.vocab_size);
    position_table_ = table("embedding.positions", config.max_positions + unused_positions_);
    if (style.type_vocab_size) type_table_ = table("embedding.types", style.type_vocab_size);
    embedding_range_ = {0, parameters_.size()};
    stack_ = PostNormStack(parameters_, config, "", config.num_layers, /*decoder=*/false, initial, style.stack);
    head_.range.first = parameters_.size();
    add_head(initial, style);
    head_.range.last = parameters_.size();
    token_table_->is_tied = head_.projection == token_table_;
    token_table_->is_lookup = !token_table_->is_tied;
  }

  std::unique_ptr<Saved> make_saved() const override { return std::make_unique<SavedStates>(); }

  Embedded embed(Pass& pass, const Tokens& tokens) override {
    const Tensor x = pass.arena.make(DType::f32, {tokens.ids.count(), width_});
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = pass.layout.positions,
                                .types = types_of(pass, tokens),
                                .token_table = token_table_->value,
                                .position_table = used_positions(position_table_->value),
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
                                 .dtoken_table = pass.gradients->lookup(*token_table_),
                                 .dposition_table = used_positions(pass.gradients->sum(*position_table_)),
                                 .dtype_table = type_table_ ? pass.gradients->sum(*type_table_) : Tensor{},
                                 .touched_blocks = pass.gradients->touched_blocks(*token_table_)});
    pass.done(embedding_range_);
  }

 private:
  // Returns the token types, i32 [N], which are absent for a model without types. They are all 0 where the batch has
  // none, and where the model does not tell them apart.
  Tensor types_of(const Pass& pass, const Tokens& tokens) const {
    if (!type_table_) return {};
    if (tokens.types && type_table_->shape[0] > 1) return tokens.types;
    return pass.arena.make_zeros(DType::i32, {tokens.ids.count()});
  }

  Tensor used_positions(const Tensor& table) const { return table.row_range(unused_positions_, table.rows()); }

  void add_masked_head(Initial initial, const BertStyle& style) {
    const bool is_tied = style.output_embedding_size == 0, is_open = style.masked_activation == config_.open_activation;
    const int64_t width = is_tied ? config_.hidden_size : style.output_embedding_size;
    head_.dense = Linear(parameters_, "masked_head.dense", config_.hidden_size, width, initial);
    head_.activation = activation_named(is_open ? config_.activation : style.masked_activation);
    head_.norm = ResidualNorm(parameters_, "masked_head.norm", width, config_.layer_norm_epsilon, {});
    if (is_tied) {
      head_.projection = token_table_;
      token_table_->is_factor = true;
      head_.bias = &parameters_.add("masked_head.bias", {config_.vocab_size}, Initial::zeros());
      return;
    }
    head_.project_by(Linear(parameters_, "masked_head.projection", width, config_.vocab_size, initial));
  }

  void add_head(Initial initial, const BertStyle& style) {
    const int64_t width = config_.hidden_size;
    if (config_.head == HeadKind::masked) return add_masked_head(initial, style);
    if (config_.head == HeadKind::question_answering) return add_span_outputs(parameters_, head_, config_, width);
    const bool classifies = config_.head == HeadKind::classification;
    if (classifies || config_.pooler) {
      const bool is_own = classifies && style.classifier_has_dense;
      head_.dense = Linear(parameters_, is_own ? "classifier.dense" : "pooler", width, width, initial);
      head_.activation = style.pooled;
      if (is_own) head_.entry_dropout = parameters_.add_dropout("classifier.dense", config_.classifier_dropout);
    }
    if (classifies) add_classifier(parameters_, head_, config_, width, config_.initializer_range);
  }

  Parameter* token_table_;
  Parameter* position_table_;
  Parameter* type_table_ = nullptr;
  int64_t width_ = 0;  // of the tables
  int64_t unused_positions_;
  ParameterRange embedding_range_;
  PostNormStack stack_;
};

// Returns the width of the table that scores masked tokens where it is as wide as the layers.
int64_t size_of_own_table(const ModelConfig& config) { return has_tied_embeddings(config) ? 0 : config.hidden_size; }

}  // namespace

void RobertaOptions::declare(Options& options) {
  options.add("model.model_type", model_type, one_of({"roberta", "xlm-roberta"}),
              "roberta: name under which its folders are saved; transformers gives XLM-R's tokenizer to xlm-roberta");
}

void RobertaOptions::check() const {
  if (model_type != "roberta" && model_type != "xlm-roberta")
    fail_usage("model.model_type \"", model_type.substr(0, 60), "\" is unknown: roberta or xlm-roberta");
}

void RemBertOptions::declare(Options& options) {
  options.add("model.input_embedding_size", input_embedding_size, between(0, most_width),
              "rembert: width of the embeddings, which a linear layer takes to hidden_size; 0: hidden_size");
  options.add("model.output_embedding_size", output_embedding_size, between(0, most_width),
              "rembert: width of the table that scores masked tokens, which is not the embeddings; 0: hidden_size");
}

void RemBertOptions::check() const {
  for (const int64_t size : {input_embedding_size, output_embedding_size})
    if (size < 0 || size > most_width)
      fail_usage("a rembert's embedding sizes are from 1 to ", most_width, ", or 0 for hidden_size, not ", size);
}

std::unique_ptr<Model> make_bert(const ModelConfig& config) {
  return std::make_unique<Bert>(config, BertStyle{.type_vocab_size = config.own.get<BertOptions>().type_vocab_size,
                                                  .output_embedding_size = size_of_own_table(config)});
}

std::unique_ptr<Model> make_distilbert(const ModelConfig& config) {
  // Nothing drops from what its attention adds.
  return std::make_unique<Bert>(
      config,
      BertStyle{.type_vocab_size = 0,
                .stack = {.attended_dropout = 0},
                .pooled = Activation::relu,
                .output_embedding_size = size_of_own_table(config)});
}

std::unique_ptr<Model> make_roberta(const ModelConfig& config) {
  if (config.pad_token < 0)
    fail_usage("a roberta needs a tokenizer with a pad token, because its positions begin behind that token's id");
  return std::make_unique<Bert>(config,
                                BertStyle{.type_vocab_size = config.own.get<RobertaOptions>().type_vocab_size,
                                          .unused_positions = unused_roberta_positions(config),
                                          .classifier_has_dense = true,
                                          .masked_activation = "gelu",
                                          .output_embedding_size = size_of_own_table(config)});
}

std::unique_ptr<Model> make_rembert(const ModelConfig& config) {
  const auto& own = config.own.get<RemBertOptions>();
  return std::make_unique<Bert>(config, BertStyle{.type_vocab_size = own.type_vocab_size,
                                                  .stack = {.embedding_size = own.input_size(config)},
                                                  .output_embedding_size = own.output_size(config)});
}

}  // namespace engine
