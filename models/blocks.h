// Blocks of transformers add attention and feed-forward to the residual stream, with a layernorm before each (GPT-2) or
// after each addition (BERT).
#pragma once

#include <optional>
#include <vector>

#include "models/config.h"
#include "models/cross_attention.h"

namespace engine {

// The properties of a pre-layernorm stack that differ between architectures.
struct PreNormStyle {
  bool is_parallel = false;        // attention and feed-forward read the same stream
  bool attention_bias = true;      // of attention's linear layers
  const Tensor* rotary = nullptr;  // table of rotary positions (kernels/attention/rotary.h), optional
};

// r += attention(norm1(r)); r += feed_forward(norm2(r)). A parallel block (GPT-NeoX) reads r once,
// r += attention(norm1(r)) + feed_forward(norm2(r)). A block leaves its last addition, its branch, to the norm that
// reads the stream next. So the residual stream r and the branch of the block before come in, and this block's go out.
struct PreNormBlock {
  struct Saved {
    // The norms' results are recomputed backward, which costs less than memory. A parallel block's two are of one sum.
    ResidualNorm::Saved norm1, norm2;
    SelfAttention::Saved attention;
    FeedForward::Saved feed_forward;
  };
  ResidualNorm norm1, norm2;
  SelfAttention attention;
  FeedForward feed_forward;
  bool is_parallel = false;
  ParameterRange range;

  // branch_dropout drops from the branch that comes in.
  PreNormBlock(Parameters& table, const ModelConfig& config, int layer, bool causal, Initial initial,
               Initial output_initial, DropoutSite branch_dropout, const PreNormStyle& style);

  // branch_in (optional) is the branch that is not yet added to residual. `branch` [N, C] receives this block's, and
  // the new residual is returned. normed [N, C] is scratch.
  Tensor forward(Pass& pass, const Tensor& residual, const Tensor& branch_in, const Tensor& branch,
                 const Tensor& normed, Saved& saved) const;
  // d holds the gradients of what forward returned and wrote. They become those of what forward was given; without a
  // branch_in, d.own_branch is scratch.
  void backward(Pass& pass, const StreamGradient& d, bool has_branch_in, Saved& saved) const;

 private:
  // Runs everything after norm1, whose result is in `normed`, and returns the new residual. A recomputation runs it a
  // second time. Writes branch, and overwrites normed.
  Tensor forward_inner(Pass& pass, const Tensor& branch, const Tensor& normed, Saved& saved) const;
  // Runs the backward pass of feed-forward and attention, to norm1's gradient dnormed. normed [N, C] is scratch.
  void backward_inner(Pass& pass, const StreamGradient& d, const Tensor& normed, const Tensor& dnormed,
                      const Saved& saved) const;
};

struct PreNormStack {
  using Saved = std::vector<PreNormBlock::Saved>;  // one for each block
  struct Stream {
    Tensor residual;  // f32 [N, C]
    Tensor branch;    // [N, C], not yet added, dropped by branch_dropout; absent behind a tap
  };
  std::vector<PreNormBlock> blocks;
  DropoutSite branch_dropout;  // drops from the last block's branch

  PreNormStack() = default;
  PreNormStack(Parameters& table, const ModelConfig& config, bool causal, Initial initial, Initial output_initial,
               const PreNormStyle& style = {});

  // x f32 [N, C] stays in use until the backward pass.
  Stream forward(Pass& pass, const Tensor& x, Saved& saved) const;
  // d holds the gradients of what forward returned. d.residual becomes the gradient of x.
  void backward(Pass& pass, const StreamGradient& d, Saved& saved) const;

  // Returns the stream that forward returned with its branch added, f32 [N, C].
  Tensor join(Pass& pass, const Stream& stream) const { return join(pass, blocks.size(), stream); }
  // Makes tensors for the gradients of a stream of this shape.
  StreamGradient make_gradient(Pass& pass, const Shape& shape) const;
  // Writes the branch's gradient, where it has its own tensor, from that of a joined stream.
  void split(Pass& pass, const StreamGradient& d) const { split(pass, blocks.size(), d); }
  // Tells whether forward returns a stream without a branch.
  bool ends_joined(const Pass& pass) const { return pass.is_tapped(blocks.size()); }

 private:
  // Returns the dropout of the branch that comes to a boundary from the block before it.
  const DropoutSite& dropout_before(size_t boundary) const {
    return boundary < blocks.size() ? blocks[boundary].norm1.dropout : branch_dropout;
  }
  Tensor join(Pass& pass, size_t boundary, const Stream& stream) const;
  void split(Pass& pass, size_t boundary, const StreamGradient& d) const;
  Stream at_boundary(Pass& pass, size_t boundary, const Stream& stream) const;
};

// The blocks of a post-layernorm stack use this memory in turn. It is f32 [N, C], but `branch` has the pass's
// precision.
struct PostNormBuffers {
  Tensor attended;  // the stream behind attention
  Tensor crossed;   // the stream behind cross attention, in decoders only
  Tensor branch;    // the next addition
};

// The blocks use these gradients of the sums that their norms read in turn, f32 [N, C].
struct PostNormGradients {
  Tensor norm2, cross_norm;
};

// The properties of a post-layernorm stack that differ between architectures.
struct PostNormStyle {
  float attended_dropout = -1;   // of what self attention adds; below 0: the model's dropout
  float activation_dropout = 0;  // of the inner values of the feed-forward part
  RelativeTable relative = {};
  int64_t embedding_size = 0;    // E, width of embeddings that a linear layer takes to C; 0: C, and no such layer
};

// h = norm1(x + drop(attention(x))); y = norm2(h + drop(feed_forward(h))). A decoder that reads a source has a third
// part between them, h = cross_norm(h + drop(cross_attention(h, source))). The residual stream x, h and y is f32. With
// output rows a block computes only their rows [R, C] of everything but the keys and values of attention.
struct PostNormBlock {
  struct Saved {
    OutputRows outputs;
    SelfAttention::Saved attention;             // without output rows
    CrossAttention::Saved attention_of_outputs;  // with output rows
    CrossAttention::Saved cross_attention;
    ResidualNorm::Saved norm1, cross_norm, norm2;
    FeedForward::Saved feed_forward;
  };
  SelfAttention attention;
  ResidualNorm norm1;
  std::optional<CrossAttention> cross_attention;
  ResidualNorm cross_norm;
  FeedForward feed_forward;
  ResidualNorm norm2;
  ParameterRange range;

  // With `decoder` set, a token sees those before it and a source.
  PostNormBlock(Parameters& table, const ModelConfig& config, const std::string& prefix, int layer, bool decoder,
                Initial initial, const PostNormStyle& style);

  // Returns y, which is x overwritten or, with output rows, a new tensor.
  Tensor forward(Pass& pass, const Tensor& x, const PostNormBuffers& buffers, const SourceStates& source,
                 const OutputRows& outputs, Saved& saved) const;
  // Writes y a second time from what was saved.
  void recompute_output(Pass& pass, const Saved& saved, const Tensor& y) const {
    norm2.recompute(pass, saved.norm2, y);
  }
  // input is the x of the forward pass, f32 where the pass recomputes. dy, f32 or in the pass's precision, is shaped as
  // y and may be dx. dx f32 [N, C] receives the gradient of x. dsource f32 [M, C] =, or += where accumulated.
  void backward(Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& dx, const PostNormGradients& gradients,
                const SourceStates& source, const Tensor& dsource, bool accumulate, Saved& saved) const;

 private:
  // Runs everything before norm2, and returns the stream that norm2 adds buffers.branch to. x [N, C] comes in, and
  // `entry` holds its rows that go on.
  Tensor forward_inner(Pass& pass, const Tensor& x, const Tensor& entry, const PostNormBuffers& buffers,
                       const SourceStates& source, Saved& saved) const;
  // Runs the backward pass of attention with output rows to dx. It starts from the gradients of attention's branch and,
  // in drows [R, C], of the stream around it. scratch is f32 [R, C].
  void backward_of_outputs(Pass& pass, const Tensor& dbranch, const Tensor& input, const Tensor& drows,
                           const Tensor& scratch, const Tensor& dx, const Saved& saved) const;
  // A block of output rows keeps its activations. It is the last block, and the first of the backward pass.
  static bool recomputes(const Pass& pass, const Saved& saved) { return pass.recompute && !saved.outputs; }
};

// x = drop(norm(embedded)), or a linear layer's mapping of that, followed by the blocks.
struct PostNormStack {
  struct Saved {
    ResidualNorm::Saved norm;
    Tensor normed;  // f32 [N, E], input of the mapping
    std::vector<PostNormBlock::Saved> blocks;
    std::vector<Tensor> tapped;  // f32 [N, C], each block's input where a tap may have changed it
  };
  ResidualNorm norm;
  DropoutSite dropout;
  std::optional<Linear> mapping;
  std::vector<PostNormBlock> blocks;
  ParameterRange range;  // the parameters of norm and mapping

  PostNormStack() = default;
  PostNormStack(Parameters& table, const ModelConfig& config, const std::string& prefix, int64_t layers, bool decoder,
                Initial initial, const PostNormStyle& style = {});

  // Returns f32 [N, C], or [R, C] with output rows, on pass.arena. embedded f32 [N, C], or [N, E] with a mapping, stays
  // in use until the backward pass. A pass that keeps nothing uses it as scratch. Decoders need a source.
  Tensor forward(Pass& pass, const Tensor& embedded, Saved& saved, const SourceStates& source = {},
                 const OutputRows& outputs = {}) const;
  // Returns the gradient of the embedding, f32 as it is, on pass.arena. dhidden is shaped as what forward returned.
  // dsource f32 [M, C] is written (=).
  Tensor backward(Pass& pass, const Tensor& dhidden, Saved& saved, const SourceStates& source = {},
                  const Tensor& dsource = {}) const;

 private:
  // Writes the first block's input x, f32 [N, C].
  void enter(Pass& pass, const Tensor& embedded, const Tensor& x, Saved& saved) const;
  // Takes the gradient of the first block's input to dembedded. Overwrites dx.
  void enter_backward(Pass& pass, const Tensor& dx, const Tensor& dembedded, const Saved& saved) const;
  // Returns the shape of the stream, [N, C].
  Shape stream_shape(const Shape& embedded) const {
    return mapping ? Shape{embedded[0], mapping->weight->shape[0]} : embedded;
  }
  // Drops in place from the embeddings in forward, and from their gradient in backward.
  void drop(Pass& pass, const Tensor& x) const;
  // Writes the input of block i for the backward pass.
  void recompute_input(Pass& pass, size_t i, const Saved& saved, const Tensor& input) const;
};

}  // namespace engine
