// Layers: parameters only, forward and backward side by side. What backward needs of forward is in a Saved struct, so a
// layer may run several times in one step. "dx" is the gradient of x; parameter gradients are added to.
#pragma once

#include "models/pass.h"

namespace engine {

// y = act(x W^T + b), W [outputs, inputs].
struct Linear {
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;  // optional
  int64_t first = 0, count = 0;  // the rows of W that it has; count 0: all

  Linear() = default;
  Linear(Parameters& table, const std::string& name, int64_t inputs, int64_t outputs, Initial initial);
  // Some of the outputs alone.
  Linear part(int64_t first_output, int64_t outputs) const;

  // before_activation (optional) receives x W^T + b.
  void forward(Pass& pass, const Tensor& x, const Tensor& y, Activation activation = Activation::none,
               const Tensor& before_activation = {}) const;
  // dx = dy W (optional), times act'(gradient_at) where x was act(gradient_at); dW += dy^T x; db += column sums of dy.
  // accumulate: dx += instead; dx is f32 then.
  void backward(Pass& pass, const Tensor& dy, const Tensor& x, const Tensor& dx,
                Activation activation = Activation::none, const Tensor& gradient_at = {},
                bool accumulate = false) const;

 private:
  Tensor own(const Tensor& all) const;
};

// Where the gradient of what was dropped and added to a residual stream goes: dresidual itself where that is the same
// numbers, else a tensor of its own.
Tensor gradient_of_branch(Pass& pass, const DropoutLayer& dropout, const Tensor& dresidual);

// sum = residual + drop(x); y = layernorm(sum): the residual stream's addition and the layernorm after it in one pass.
struct ResidualNorm {
  struct Saved {
    Tensor sum;         // f32 [N, C]
    Tensor mean, rstd;  // f32 [N]
  };
  Parameter* gain = nullptr;
  Parameter* bias = nullptr;
  DropoutLayer dropout;
  float epsilon = 1e-5f;

  ResidualNorm() = default;
  ResidualNorm(Parameters& table, const std::string& name, int64_t width, float epsilon_, DropoutLayer dropout_);

  // One of x and residual may be absent. Without x sum is the residual itself; in a pass that keeps nothing there is no
  // other sum.
  void forward(Pass& pass, const Tensor& x, const Tensor& residual, const Tensor& y, Saved& saved) const;
  // y again from what was saved.
  void again(Pass& pass, const Saved& saved, const Tensor& y) const;
  // dresidual += d layernorm(dy); dbranch = its part that went through x (see gradient_of_branch).
  void backward(Pass& pass, const Tensor& dy, const Saved& saved, const Tensor& dresidual, const Tensor& dbranch,
                bool accumulate = true) const;
  // Room for what forward saves, and forward into such room (sum optional where no backward pass follows).
  Saved room(Pass& pass, const Shape& shape) const;
  void forward_into(Pass& pass, const Tensor& x, const Tensor& residual, const Tensor& y, const Saved& saved) const;
  Tensor gradient_of_branch(Pass& pass, const Tensor& dresidual) const {
    return engine::gradient_of_branch(pass, dropout, dresidual);
  }
};

// Tables of what is added to keys and values by how far they are from the query (kernels/attention/attention.h), common
// to all heads. [R, D]; where they are shared both are one.
struct RelativePositions {
  Parameter *keys = nullptr, *values = nullptr;
  int64_t distances = 0;  // 0: none

  RelativePositions() = default;
  // kind: none, shared or separate.
  RelativePositions(Parameters& table, const std::string& name, const std::string& kind, int64_t distances_,
                    int64_t head_width, bool causal, Initial initial);
  RelativeTables tables() const {
    return distances ? RelativeTables{distances, keys->value, values->value} : RelativeTables{};
  }
};

// Multi-head self attention with one fused projection to q | k | v.
struct SelfAttention {
  struct Saved {
    Tensor qkv;    // [N, 3C]
    Tensor mixed;  // [N, C], the heads' outputs side by side
    Tensor lse;    // f32 [N, H]
  };
  Linear qkv, output;
  int heads = 1;
  int layer = 0;  // of the key/value cache
  bool causal = false;
  DropoutLayer dropout;
  RelativePositions relative;

  SelfAttention() = default;
  SelfAttention(Parameters& table, const std::string& name, int64_t width, int heads_, int layer_, bool causal_,
                float attention_dropout, Initial initial, Initial output_initial);

  void forward(Pass& pass, const Tensor& x, const Tensor& y, Saved& saved) const;
  // dx =, or += where accumulated (f32 then).
  void backward(Pass& pass, const Tensor& dy, const Tensor& x, const Saved& saved, const Tensor& dx,
                bool accumulate = false) const;
};

// y = act(x W1^T + b1) W2^T + b2. act is run again in the backward pass: cheaper than keeping its result.
struct FeedForward {
  struct Saved {
    Tensor before, activated;  // [N, F], before and after the activation
  };
  Linear up, down;
  Activation activation = Activation::gelu_tanh;

  FeedForward() = default;
  FeedForward(Parameters& table, const std::string& name, int64_t width, int64_t inner, Activation activation_,
              Initial initial, Initial output_initial);

  void forward(Pass& pass, const Tensor& x, const Tensor& y, Saved& saved) const;
  // dx =, or += where accumulated (f32 then).
  void backward(Pass& pass, const Tensor& dy, const Tensor& x, const Saved& saved, const Tensor& dx,
                bool accumulate = false) const;
};

Activation activation_named(const std::string& name);  // relu gelu gelu_tanh tanh

}  // namespace engine
