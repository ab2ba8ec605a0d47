// Layers hold parameters only, with forward and backward side by side. A Saved struct keeps what backward needs of
// forward, so a layer may run several times in one step. "dx" is the gradient of x. Gradients of parameters go to
// pass.gradients.
#pragma once

#include "models/pass.h"

namespace engine {

// y = act(x W^T + b), W [outputs, inputs].
struct Linear {
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;     // optional
  int64_t first = 0, count = 0;  // rows of W that it has; count 0: all

  Linear() = default;
  Linear(Parameters& table, const std::string& name, int64_t inputs, int64_t outputs, Initial initial,
         bool with_bias = true);
  // Returns the same layer with only some of the outputs.
  Linear part(int64_t first_output, int64_t outputs) const;

  // before_activation (optional) receives x W^T + b.
  void forward(const Run& run, const Tensor& x, const Tensor& y, Activation activation = Activation::none,
               const Tensor& before_activation = {}) const;
  // dx = dy W (optional), times act'(gradient_at) where x was act(gradient_at); dW += dy^T x; db += column sums of dy.
  // With accumulate, dx += instead, and dx is f32.
  void backward(const Run& run, const Tensor& dy, const Tensor& x, const Tensor& dx,
                Activation activation = Activation::none, const Tensor& gradient_at = {},
                bool accumulate = false) const;

 private:
  Tensor own(const Tensor& all) const;
};

// Gradients of a residual stream and of the branch that was dropped and added to it. They are the same numbers, and one
// tensor, unless dropout or rounding to bf16 keeps them apart.
struct StreamGradient {
  Tensor residual;    // f32 [N, C]
  Tensor own_branch;  // [N, C] in the pass's precision; absent where it is `residual`

  const Tensor& branch() const { return own_branch ? own_branch : residual; }
};

// Tells whether the two are apart for a branch with this dropout.
bool is_branch_apart(const Pass& pass, const DropoutSite& dropout);

// sum = residual + drop(x); y = layernorm(sum). One pass does the residual stream's addition and the layernorm after
// it.
struct ResidualNorm {
  struct Saved {
    Tensor sum;         // f32 [N, C]
    Tensor mean, rstd;  // f32 [N]
  };
  Parameter* gain = nullptr;
  Parameter* bias = nullptr;
  DropoutSite dropout;  // drops from x
  float epsilon = 1e-5f;

  ResidualNorm() = default;
  ResidualNorm(Parameters& table, const std::string& name, int64_t width, float epsilon_, DropoutSite dropout_);

  // One of x and residual may be absent. Without x, sum is the residual itself.
  void forward(Pass& pass, const Tensor& x, const Tensor& residual, const Tensor& y, Saved& saved) const;
  // make_saved makes the memory that forward saves to, and forward_into runs forward into it. `sum` is optional where
  // no backward pass follows.
  Saved make_saved(Pass& pass, const Shape& shape) const;
  void forward_into(Pass& pass, const Tensor& x, const Tensor& residual, const Tensor& y, const Saved& saved) const;
  // Writes y a second time from what was saved.
  void recompute(const Run& run, const Saved& saved, const Tensor& y) const;
  // d.residual = d layernorm(dy), or += where accumulated; d.own_branch (optional) = the gradient of x.
  void backward(Pass& pass, const Tensor& dy, const Saved& saved, const StreamGradient& d, bool accumulate) const;
};

// Names the relative tables of a self attention by their kind, which is none, shared (by keys and values) or separate.
struct RelativeTable {
  std::string kind = "none";
  int64_t distances = 0;  // told apart each way
};

// These tables are added to keys and values by how far they are from the query (kernels/attention). They are common to
// all heads, [R, D]. Shared tables are one.
struct RelativePositions {
  Parameter *keys = nullptr, *values = nullptr;
  int64_t distances = 0;  // 0: none

  RelativePositions() = default;
  RelativePositions(Parameters& table, const std::string& name, const RelativeTable& wanted, int64_t head_width,
                    bool causal, Initial initial);
  RelativeTables tables() const {
    return distances ? RelativeTables{distances, keys->value, values->value} : RelativeTables{};
  }
};

// Multi-head self attention with one fused projection to q | k | v.
struct SelfAttention {
  struct Saved {
    Tensor qkv;    // [N, 3C]
    Tensor mixed;  // [N, C], heads' outputs side by side
    Tensor lse;    // f32 [N, H]
  };
  Linear qkv, output;
  int heads = 1;
  int layer = 0;  // its layer in the KV cache
  bool causal = false;
  DropoutSite dropout;
  RelativePositions relative;
  const Tensor* rotary = nullptr;  // optional f32 [P, r], by which q and k are turned (kernels/attention/rotary.h)

  SelfAttention() = default;
  SelfAttention(Parameters& table, const std::string& name, int64_t width, int heads_, int layer_, bool causal_,
                float attention_dropout, Initial initial, Initial output_initial, bool with_bias = true);

  void forward(Pass& pass, const Tensor& x, const Tensor& y, Saved& saved) const;
  // dx =, or += where accumulated (f32 then).
  void backward(Pass& pass, const Tensor& dy, const Tensor& x, const Saved& saved, const Tensor& dx,
                bool accumulate = false) const;

 private:
  // Turns q and k, or back their gradients, in q | k | v where there are rotary positions.
  void turn(Pass& pass, const Tensor& all, bool is_backward) const;
};

// y = drop(act(x W1^T + b1)) W2^T + b2.
struct FeedForward {
  struct Saved {
    Tensor before, activated;  // [N, F], before and after the activation (and its dropout)
  };
  Linear up, down;
  Activation activation = Activation::gelu_tanh;
  DropoutSite dropout;  // of the activated values

  FeedForward() = default;
  FeedForward(Parameters& table, const std::string& name, int64_t width, int64_t inner, Activation activation_,
              Initial initial, Initial output_initial);

  void forward(Pass& pass, const Tensor& x, const Tensor& y, Saved& saved) const;
  // dx =, or += where accumulated (f32 then).
  void backward(Pass& pass, const Tensor& dy, const Tensor& x, const Saved& saved, const Tensor& dx,
                bool accumulate = false) const;
};

// These are the gradients of relative tables as attention_backward takes them.
struct RelativeGradients {
  Tensor keys, values;
  RelativeGradients(const Run& run, const RelativePositions& relative);
};

Activation activation_named(const std::string& name);  // relu gelu gelu_tanh tanh silu quick_gelu mish

}  // namespace engine
