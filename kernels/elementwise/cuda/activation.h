// Computes act(x) and act'(x) on a device, element by element, with the formulas of activation.h.
#pragma once

#include <cmath>

#include "kernels/cuda/intrinsics.h"
#include "kernels/ops.h"

namespace engine::cuda {

// Computes s(2u), where gelu_tanh(x) = x s(2u) and s(z) = 1 / (1 + e^-z). It neither overflows to NaN nor cancels on
// the negative side.
__device__ __forceinline__ float gelu_tanh_sigmoid(float x) {
  return 1.0f / (1.0f + expf(x * (-1.5957691216f - 0.0713548162726f * x * x)));
}

template <Activation activation>
__device__ __forceinline__ float activate(float x) {
  if constexpr (activation == Activation::relu) return x < 0.0f ? 0.0f : x;
  if constexpr (activation == Activation::gelu) return 0.5f * x * erfcf(-0.70710678f * x);
  if constexpr (activation == Activation::gelu_tanh) return x < -20.0f ? 0.0f : x * gelu_tanh_sigmoid(x);
  if constexpr (activation == Activation::tanh) return tanhf(x);
  if constexpr (is_swish<activation>)
    return x < -swish_bound<activation> ? 0.0f : x / (1.0f + expf(-swish_factor<activation> * x));
  if constexpr (activation == Activation::mish) {
    const float w = expf(fminf(x, mish_bound)), n = w * (w + 2.0f);
    return x * (n / (n + 2.0f));
  }
  return x;
}

template <Activation activation>
__device__ __forceinline__ float activation_gradient(float x) {
  if constexpr (activation == Activation::relu) return x > 0.0f ? 1.0f : x != x ? x : 0.0f;
  if constexpr (activation == Activation::gelu)
    return 0.5f * erfcf(-0.70710678f * x) + x * expf(-0.5f * x * x) * 0.39894228f;
  if constexpr (activation == Activation::gelu_tanh) {
    if (fabsf(x) > 20.0f) return x > 0.0f ? 1.0f : 0.0f;
    const float s = gelu_tanh_sigmoid(x), other = gelu_tanh_sigmoid(-x);  // 1 - s
    return s + x * s * other * (1.5957691216f + 0.2140644488179f * x * x);
  }
  if constexpr (activation == Activation::tanh) {
    const float t = tanhf(x);
    return 1.0f - t * t;
  }
  if constexpr (is_swish<activation>) {
    if (fabsf(x) > swish_bound<activation>) return x > 0.0f ? 1.0f : 0.0f;
    const float z = swish_factor<activation> * x, e = expf(-z), s = 1.0f / (1.0f + e);
    return s + z * (s * (s * e));  // s e = 1 - s, which would cancel
  }
  if constexpr (activation == Activation::mish) {
    if (x > mish_bound) return 1.0f;
    if (x < mish_lowest) return 0.0f;
    const float w = expf(x), n = w * (w + 2.0f), r = 1.0f / (n + 2.0f);
    return n * r + 4.0f * x * (w * r) * ((w + 1.0f) * r);
  }
  return 1.0f;
}

// Calls body.template operator()<activation>(), for the activation that a kernel was given.
template <class Body>
__device__ __forceinline__ void with_activation(Activation activation, const Body& body) {
  switch (activation) {
    case Activation::none: return body.template operator()<Activation::none>();
    case Activation::relu: return body.template operator()<Activation::relu>();
    case Activation::gelu: return body.template operator()<Activation::gelu>();
    case Activation::gelu_tanh: return body.template operator()<Activation::gelu_tanh>();
    case Activation::tanh: return body.template operator()<Activation::tanh>();
    case Activation::silu: return body.template operator()<Activation::silu>();
    case Activation::quick_gelu: return body.template operator()<Activation::quick_gelu>();
    case Activation::mish: return body.template operator()<Activation::mish>();
  }
}

}  // namespace engine::cuda
