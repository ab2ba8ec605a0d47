// Blocks of transformers: attention and feed-forward, each added to the residual stream, with a layernorm before each
// (GPT-2) or behind each addition (BERT).
#pragma once

#include <optional>
#include <vector>

#include "models/config.h"
#include "models/cross_attention.h"

namespace engine {

// r += attention(norm1(r)); r += feed_forward(norm2(r)). What a block adds last is its branch: the norm that reads the
// stream next adds it. The residual stream r and the branch of the block before come in, and so they leave.
struct PreNormBlock {
  struct Saved {
    ResidualNorm::Saved norm1, norm2;  // their results are made again in the backward pass: cheaper than keeping them
    SelfAttention::Saved attention;
    FeedForward::Saved feed_forward;
  };
  ResidualNorm norm1, norm2;
  SelfAttention attention;
  FeedForward feed_forward;

  // branch_dropout: of the branch that comes in.
  PreNormBlock(Parameters& table, const ModelConfig& config, int layer, bool causal, Initial initial,
               Initial output_initial, DropoutLayer branch_dropout);

  // residual and branch_in (optional on entry to the first block) are those of the block before; branch receives this
  // block's, and the new residual is returned. normed [N, C] is scratch.
  Tensor forward(Pass& pass, const Tensor& residual, const Tensor& branch_in, const Tensor& branch,
                 const Tensor& normed, Saved& saved) const;
  // dresidual and dbranch: the gradients of what forward returned and wrote; they become those of what it was given.
  void backward(Pass& pass, const Tensor& dresidual, const Tensor& dbranch, Saved& saved) const;

 private:
  // All after norm1, whose result is in `normed`: what recomputation runs a second time. branch is written, and normed
  // used again.
  void forward_inner(Pass& pass, const Tensor& branch, const Tensor& normed, Saved& saved) const;
};

struct PreNormStack {
  using Saved = std::vector<PreNormBlock::Saved>;  // one a block
  struct Stream {
    Tensor residual;  // f32 [N, C]
    Tensor branch;    // [N, C], yet to be added, dropped by branch_dropout
  };
  std::vector<PreNormBlock> blocks;
  DropoutLayer branch_dropout;

  PreNormStack() = default;
  PreNormStack(Parameters& table, const ModelConfig& config, bool causal, Initial initial, Initial output_initial);

  Stream forward(Pass& pass, const Tensor& residual, Saved& saved) const;
  // Gradients of what forward returned; dresidual becomes that of what it was given. dbranch may be dresidual where
  // these are the same numbers (ResidualNorm::gradient_of_branch).
  void backward(Pass& pass, const Tensor& dresidual, const Tensor& dbranch, Saved& saved) const;
};

// h = norm1(x + drop(attention(x))); y = norm2(h + drop(feed_forward(h))). In a decoder that reads a source there is a
// third part between them: h = cross_norm(h + drop(cross_attention(h, source))). x, h and y are f32: the residual
// stream. Where rows are asked for all but the keys and values of attention is theirs alone, [R, C].
struct PostNormBlock {
  struct Saved {
    AskedRows asked;
    SelfAttention::Saved attention;           // or
    CrossAttention::Saved attention_of_rows;  // where some are asked for
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

  // decoder: sees what is before it, and a source.
  PostNormBlock(Parameters& table, const ModelConfig& config, const std::string& prefix, int layer, bool decoder,
                Initial initial);

  // x, f32 [N, C], becomes y, and so does middle: the one that is returned (its first rows where some are asked for)
  // holds y, the other and branch [N, C] are scratch.
  Tensor forward(Pass& pass, const Tensor& x, const Tensor& middle, const Tensor& branch, const SourceStates& source,
                 const AskedRows& asked, Saved& saved) const;
  // y again from what was saved: the next block's x.
  void output_again(Pass& pass, const Saved& saved, const Tensor& y) const { norm2.again(pass, saved.norm2, y); }
  // input: x again, f32 where the pass recomputes. dy, f32 or pass.compute, has the shape of what forward returned and
  // may be dx; dx and dmiddle are f32 [N, C]: the one that is returned holds the gradient of x. dsource f32 [M, C] is
  // written, or added to where accumulated.
  Tensor backward(Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& dx, const Tensor& dmiddle,
                  const SourceStates& source, const Tensor& dsource, bool accumulate, Saved& saved) const;

 private:
  // All before norm2: branch is the feed-forward's, which norm2 adds to what is returned, x or middle. Of saved.asked
  // rows: branch and middle have as many.
  Tensor forward_inner(Pass& pass, const Tensor& x, const Tensor& middle, const Tensor& branch,
                       const SourceStates& source, Saved& saved) const;
  // The attention's part of backward, of rows: from the gradients of its branch and, in drows, of what is around it
  // [R, C] to dx.
  void backward_of_rows(Pass& pass, const Tensor& dbranch, const Tensor& input, const Tensor& drows,
                        const Tensor& scratch, const Tensor& dx, const Saved& saved) const;
  // A block of asked rows keeps what it has: it is the last, whose turn in the backward pass comes first.
  static bool recomputes(const Pass& pass, const Saved& saved) { return pass.recompute && !saved.asked; }
};

// x = drop(norm(embedded)), then the blocks.
struct PostNormStack {
  struct Saved {
    ResidualNorm::Saved norm;
    std::vector<PostNormBlock::Saved> blocks;
  };
  ResidualNorm norm;
  DropoutLayer dropout;
  std::vector<PostNormBlock> blocks;

  PostNormStack() = default;
  PostNormStack(Parameters& table, const ModelConfig& config, const std::string& prefix, int64_t layers, bool decoder,
                Initial initial);

  // f32 [N, C], or [R, C] of the rows that are asked for, on pass.arena. embedded f32 [N, C] is kept, or
  // scratch in a pass that keeps nothing. source: of decoders.
  Tensor forward(Pass& pass, const Tensor& embedded, Saved& saved, const SourceStates& source = {},
                 const AskedRows& asked = {}) const;
  // The gradient of the embedding, f32 [N, C], on pass.arena. dhidden: as what forward returned. dsource f32 [M, C], =.
  Tensor backward(Pass& pass, const Tensor& dhidden, Saved& saved, const SourceStates& source = {},
                  const Tensor& dsource = {}) const;

 private:
  // In place: forward of the embeddings and, on their gradient, backward.
  void drop(Pass& pass, const Tensor& x) const;
};

}  // namespace engine
