// Blocks of transformers: attention and feed-forward, each added to the residual stream, with a layernorm before each
// (GPT-2) or behind each addition (BERT).
#pragma once

#include <vector>

#include "models/config.h"
#include "models/layers.h"

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

// h = norm1(x + drop(attention(x))); y = norm2(h + drop(feed_forward(h))). x, h and y are f32: the residual stream.
struct PostNormBlock {
  struct Saved {
    SelfAttention::Saved attention;
    ResidualNorm::Saved norm1, norm2;
    FeedForward::Saved feed_forward;
  };
  SelfAttention attention;
  ResidualNorm norm1;
  FeedForward feed_forward;
  ResidualNorm norm2;

  PostNormBlock(Parameters& table, const ModelConfig& config, int layer, Initial initial);

  // x f32 [N, C] becomes y. middle, f32 [N, C], and branch [N, C] are scratch.
  void forward(Pass& pass, const Tensor& x, const Tensor& middle, const Tensor& branch, Saved& saved) const;
  // y again from what was saved: the next block's x.
  void output_again(Pass& pass, const Saved& saved, const Tensor& y) const { norm2.again(pass, saved.norm2, y); }
  // input: x again, f32 where the pass recomputes. dy may be dx, f32 [N, C], which is written; dmiddle f32 is scratch.
  void backward(Pass& pass, const Tensor& dy, const Tensor& input, const Tensor& dx, const Tensor& dmiddle,
                Saved& saved) const;
};

}  // namespace engine
