// Functions act(x) and act'(x) of a vector of f32, for epilogues and for the activation operations. They are good to
// about 1e-6 absolute. A NaN gives a NaN.
#pragma once

#include "kernels/elementwise/activation.h"
#include "kernels/elementwise/cpu/gelu_table.h"

namespace engine::ENGINE_ISA {

// Bounds v from below by low, or from above by high. A NaN stays a NaN.
ENGINE_INLINE vfloat at_least(vfloat v, float low) {
#if defined(__AVX512F__)  // gives the second where one is a NaN, in one instruction
  return reinterpret_cast<vfloat>(
      _mm512_maskz_max_ps(0xFFFF, reinterpret_cast<__m512>(splat(low)), reinterpret_cast<__m512>(v)));
#else
  return v < low ? splat(low) : v;
#endif
}
ENGINE_INLINE vfloat at_most(vfloat v, float high) {
#if defined(__AVX512F__)
  return reinterpret_cast<vfloat>(
      _mm512_maskz_min_ps(0xFFFF, reinterpret_cast<__m512>(splat(high)), reinterpret_cast<__m512>(v)));
#else
  return v > high ? splat(high) : v;
#endif
}

ENGINE_INLINE vfloat magnitude(vfloat x) { return as_float(as_int(x) & 0x7fffffff); }
ENGINE_INLINE vint sign_bit(vfloat x) { return as_int(x) & static_cast<int32_t>(0x80000000u); }

// Takes tanh. Near 0 it is x + x^3 p(x^2), which keeps the relative precision there, and beyond 1 - 2 / (e^2|x| + 1).
ENGINE_INLINE vfloat tanh(vfloat x) {
  const vfloat size = magnitude(x);
  const vfloat z = x * x;
  vfloat p = splat(-5.70498872745e-3f);
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const vfloat near_zero = p * z * x + x;
  const vfloat beyond = 1.0f - 2.0f / (exp(size + size) + 1.0f);
  return size < 0.625f ? near_zero : as_float(as_int(beyond) | sign_bit(x));
}

#if defined(__AVX512F__)
ENGINE_INLINE vfloat gelu(vfloat x) {
  const vfloat t = magnitude(x);
  return x * 0.5f + t * value_of(gelu_half, t);
}
ENGINE_INLINE vfloat gelu_slope(vfloat x) {
  return as_float(as_int(value_of(gelu_slopes, magnitude(x))) | sign_bit(x)) + 0.5f;
}
#else
// Takes the standard normal's distribution function and e^(-x^2/2). They come from
// erfc(t) = e^(-t^2) p(1 / (1 + 0.3275911 t)), t >= 0 (Abramowitz and Stegun 7.1.26, error below 1.5e-7), which does
// not cancel on the negative side.
ENGINE_INLINE void normal_distribution(vfloat x, vfloat& probability, vfloat& bell) {
  const vfloat t = magnitude(x) * 0.70710678f;
  const vfloat r = reciprocal(t * 0.3275911f + 1.0f);
  vfloat p = splat(1.061405429f);
  p = p * r - 1.453152027f;
  p = p * r + 1.421413741f;
  p = p * r - 0.284496736f;
  p = p * r + 0.254829592f;
  bell = exp2(t * t * -1.44269504f);
  const vfloat tail = 0.5f * (p * r * bell);
  probability = x > 0.0f ? 1.0f - tail : tail;
}
ENGINE_INLINE vfloat gelu(vfloat x) {
  vfloat probability, bell;
  normal_distribution(x, probability, bell);
  return x * probability;
}
ENGINE_INLINE vfloat gelu_slope(vfloat x) {
  vfloat probability, bell;
  normal_distribution(x, probability, bell);
  const vfloat above = x < -16.0f ? splat(-16.0f) : x;
  return probability + (above > 16.0f ? splat(16.0f) : above) * bell * 0.398942280f;
}
#endif

// gelu_tanh(x) = x/2 (1 + tanh u) = x s(2u), u = sqrt(2/pi) (x + 0.044715 x^3), s(v) = 1 / (1 + e^-v). This function
// returns e^-2u for x from -gelu_bound on.
inline constexpr float gelu_bound = 9.5f;  // gelu_tanh is exactly 0 or x beyond it, its slope 0 or 1
ENGINE_INLINE vfloat gelu_tanh_exponential(vfloat x) { return exp2(x * (x * x * -0.102943240f - 2.30220818f)); }

template <Activation activation>
ENGINE_INLINE vfloat swish_exponential(vfloat x) {
  return exp2(x * (-1.44269504f * swish_factor<activation>));
}

template <Activation activation>
ENGINE_INLINE vfloat activate(vfloat x) {
  if constexpr (activation == Activation::relu) return x < 0.0f ? vfloat{} : x;
  if constexpr (activation == Activation::tanh) return tanh(x);
  if constexpr (activation == Activation::gelu_tanh) {
    const vfloat bounded = at_least(x, -gelu_bound);
    return bounded * reciprocal(gelu_tanh_exponential(bounded) + 1.0f);
  }
  if constexpr (activation == Activation::gelu) return gelu(x);
  if constexpr (is_swish<activation>) {
    const vfloat bounded = at_least(x, -swish_bound<activation>);
    return bounded * reciprocal(swish_exponential<activation>(bounded) + 1.0f);
  }
  if constexpr (activation == Activation::mish) {
    const vfloat w = exp(at_most(x, mish_bound)), n = w * (w + 2.0f);
    return x * (n / (n + 2.0f));
  }
  return x;
}

template <Activation activation>
ENGINE_INLINE vfloat activate_gradient(vfloat x) {
  if constexpr (activation == Activation::relu) {
    const vfloat slope = x > 0.0f ? splat(1.0f) : vfloat{};
    return x != x ? x : slope;
  }
  if constexpr (activation == Activation::tanh) {
    const vfloat y = tanh(x);
    return 1.0f - y * y;
  }
  if constexpr (activation == Activation::gelu_tanh) {
    const vfloat bounded = at_most(at_least(x, -gelu_bound), gelu_bound);
    const vfloat e = gelu_tanh_exponential(bounded), s = reciprocal(e + 1.0f);
    const vfloat slope = bounded * bounded * 0.214064449f + 1.59576912f;
    return s + bounded * (s * (s * e)) * slope;  // s e = 1 - s, which would cancel
  }
  if constexpr (activation == Activation::gelu) return gelu_slope(x);
  if constexpr (is_swish<activation>) {
    const vfloat bounded = at_most(at_least(x, -swish_bound<activation>), swish_bound<activation>);
    const vfloat e = swish_exponential<activation>(bounded), s = reciprocal(e + 1.0f);
    return s + bounded * swish_factor<activation> * (s * (s * e));  // as above
  }
  if constexpr (activation == Activation::mish) {
    const vfloat bounded = at_most(at_least(x, mish_lowest), mish_bound);
    const vfloat w = exp(bounded), n = w * (w + 2.0f), r = 1.0f / (n + 2.0f);
    const vfloat slope = n * r + 4.0f * bounded * (w * r) * ((w + 1.0f) * r);
    return x > mish_bound ? splat(1.0f) : slope;
  }
  return splat(1.0f);
}

// Calls body with the activation as a compile-time constant: with_activation(a, [&]<Activation activation>() {...}).
template <class Body>
ENGINE_INLINE void with_activation(Activation activation, const Body& body) {
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

}  // namespace engine::ENGINE_ISA
