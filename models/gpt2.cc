// GPT-2 (Radford et al. 2019): a pre-layernorm decoder with learned positions and tied embeddings.
//   r = token + position embedding;  for each layer:  r += attention(ln1(r));  r += feed_forward(ln2(r));  h = ln(r)
#include "models/gpt2.h"

#include <cmath>

#include "models/layers.h"

namespace engine {

namespace {

// One layer. The residual stream r and what the layer before it has yet to add to it (its branch) come in; so they
// leave.
struct Block {
  struct Saved {
    ResidualNorm::Saved norm1, norm2;  // their results are made again in the backward pass: cheaper than keeping them
    SelfAttention::Saved attention;
    FeedForward::Saved feed_forward;
  };
  ResidualNorm norm1, norm2;
  SelfAttention attention;
  FeedForward feed_forward;

  Block(Parameters& table, const ModelConfig& config, int layer, DropoutLayer residual_dropout) {
    const std::string name = "layers." + std::to_string(layer);
    const int64_t width = config.hidden_size;
    const float deviation = config.initializer_range;
    // What is added to the residual stream begins smaller, by the root of the number of additions.
    const float output_deviation = deviation / std::sqrt(2.0f * static_cast<float>(config.num_layers));
    norm1 = ResidualNorm(table, name + ".norm1", width, config.layer_norm_epsilon, residual_dropout);
    attention = SelfAttention(table, name + ".attention", width, static_cast<int>(config.num_heads), layer, true,
                              config.attention_dropout, deviation, output_deviation);
    norm2 = ResidualNorm(table, name + ".norm2", width, config.layer_norm_epsilon, table.add_dropout(config.dropout));
    feed_forward = FeedForward(table, name + ".feed_forward", width, config.inner_size(),
                               activation_named(config.activation), deviation, output_deviation);
  }

  // All after norm1, whose result is in `normed`: what recomputation runs a second time. branch is written, and normed
  // used again.
  void forward_inner(Pass& pass, const Tensor& branch, const Tensor& normed, Saved& saved) const {
    attention.forward(pass, normed, branch, saved.attention);
    norm2.forward(pass, branch, saved.norm1.sum, normed, saved.norm2);
    feed_forward.forward(pass, normed, branch, saved.feed_forward);
  }

  // residual and branch (optional on entry to the first layer) are those of the layer before; branch receives this
  // layer's, and the new residual is returned. normed [N, C] is scratch.
  Tensor forward(Pass& pass, const Tensor& residual, const Tensor& branch_in, const Tensor& branch,
                 const Tensor& normed, Saved& saved) const {
    const Tensor kept = pass.recompute ? pass.arena.make(DType::f32, residual.shape) : Tensor{};
    norm1.forward(pass, branch_in, residual, normed, saved.norm1);
    if (!pass.recompute) {
      forward_inner(pass, branch, normed, saved);
      return saved.norm2.sum;
    }
    const ArenaScope scope(pass.arena);
    forward_inner(pass, branch, normed, saved);
    pass.ops.copy({.x = saved.norm2.sum, .y = kept});
    return kept;
  }

  // dresidual and dbranch: the gradients of what forward returned and wrote; they become those of what it was given.
  void backward(Pass& pass, const Tensor& dresidual, const Tensor& dbranch, Saved& saved) const {
    const ArenaScope scope(pass.arena);
    const Tensor normed = pass.arena.make(pass.compute, dresidual.shape);
    const Tensor dnormed = pass.arena.make(pass.compute, dresidual.shape);
    if (pass.recompute) {
      norm1.again(pass, saved.norm1, normed);
      forward_inner(pass, /*branch=*/dnormed, normed, saved);
    }
    norm2.again(pass, saved.norm2, normed);
    feed_forward.backward(pass, dbranch, normed, saved.feed_forward, dnormed);
    norm2.backward(pass, dnormed, saved.norm2, dresidual, dbranch);
    norm1.again(pass, saved.norm1, normed);
    attention.backward(pass, dbranch, normed, saved.attention, dnormed);
    norm1.backward(pass, dnormed, saved.norm1, dresidual, dbranch);
  }
};

class Gpt2 final : public CausalModel {
 public:
  struct SavedStates final : Saved {
    std::vector<Block::Saved> blocks;
    ResidualNorm::Saved final_norm;
  };

  explicit Gpt2(const ModelConfig& config) : CausalModel(config) {
    const float deviation = config.initializer_range;
    token_table_ =
        &parameters_.add("embedding.tokens", {config.vocab_size, config.hidden_size}, Initial::normal(deviation));
    position_table_ =
        &parameters_.add("embedding.positions", {config.max_positions, config.hidden_size}, Initial::normal(deviation));
    embedding_dropout_ = parameters_.add_dropout(config.dropout);
    // A layer's norm adds the branch of the layer before it: nothing is dropped at the first.
    DropoutLayer branch_dropout;
    for (int64_t layer = 0; layer < config.num_layers; ++layer) {
      blocks_.emplace_back(parameters_, config, static_cast<int>(layer), branch_dropout);
      branch_dropout = parameters_.add_dropout(config.dropout);
    }
    final_norm_ =
        ResidualNorm(parameters_, "final_norm", config.hidden_size, config.layer_norm_epsilon, branch_dropout);
  }

  std::unique_ptr<Saved> make_saved() const override {
    auto saved = std::make_unique<SavedStates>();
    saved->blocks.resize(blocks_.size());
    return saved;
  }

  Tensor forward(Pass& pass, const Tokens& tokens, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const Shape shape{tokens.ids.count(), config_.hidden_size};
    Tensor residual = pass.arena.make(DType::f32, shape);
    const Tensor branch = pass.arena.make(pass.compute, shape), normed = pass.arena.make(pass.compute, shape);
    const Tensor hidden = pass.arena.make(pass.compute, shape);
    pass.ops.embedding_forward({.tokens = tokens.ids,
                                .positions = tokens.positions,
                                .token_table = token_table_->value,
                                .position_table = position_table_->value,
                                .y = residual,
                                .dropout = pass.dropout(embedding_dropout_)});
    Tensor branch_in;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      residual = blocks_[i].forward(pass, residual, branch_in, branch, normed, saved.blocks[i]);
      branch_in = branch;
    }
    final_norm_.forward(pass, branch_in, residual, hidden, saved.final_norm);
    return hidden;
  }

  void backward(Pass& pass, const Tokens& tokens, const Tensor& dhidden, Saved& saved_states) override {
    auto& saved = static_cast<SavedStates&>(saved_states);
    const ArenaScope scope(pass.arena);
    const Tensor dresidual = pass.arena.make(DType::f32, dhidden.shape);
    // One tensor serves as every layer's branch gradient: it is apart from dresidual where any layer needs it to be.
    const Tensor dbranch = final_norm_.gradient_of_branch(pass, dresidual);
    final_norm_.backward(pass, dhidden, saved.final_norm, dresidual, dbranch, /*accumulate=*/false);
    for (size_t i = blocks_.size(); i-- > 0;) blocks_[i].backward(pass, dresidual, dbranch, saved.blocks[i]);
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
  std::vector<Block> blocks_;
  ResidualNorm final_norm_;
};

}  // namespace

std::unique_ptr<CausalModel> make_gpt2(const ModelConfig& config) { return std::make_unique<Gpt2>(config); }

}  // namespace engine
