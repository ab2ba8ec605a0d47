// Vectors of f32 for the CPU kernels, of one width for each instruction set, from the compiler's own vector types.
// Elementary functions are polynomials good to about 2 units in the last place of an f32 unless they say otherwise.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "core/bf16.h"

namespace engine::ENGINE_ISA {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX2__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif

using vfloat = float __attribute__((vector_size(lanes * 4)));
using vint = int32_t __attribute__((vector_size(lanes * 4)));
using vuint = uint32_t __attribute__((vector_size(lanes * 4)));
using vshort = uint16_t __attribute__((vector_size(lanes * 2)));

#define ENGINE_INLINE inline __attribute__((always_inline))

ENGINE_INLINE vfloat splat(float value) { return value - vfloat{}; }
ENGINE_INLINE vfloat as_float(vint v) { return reinterpret_cast<vfloat>(v); }
ENGINE_INLINE vint as_int(vfloat v) { return reinterpret_cast<vint>(v); }

ENGINE_INLINE vfloat load(const float* p) {
  vfloat v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
ENGINE_INLINE void store(float* p, vfloat v) { std::memcpy(p, &v, sizeof v); }
ENGINE_INLINE vfloat load(const bf16* p) {
  vshort half;
  std::memcpy(&half, p, sizeof half);
#if defined(__AVX512F__)  // the compiler converts by halves
  return as_float(reinterpret_cast<vint>(_mm512_maskz_cvtepu16_epi32(0xFFFF, reinterpret_cast<__m256i>(half))) << 16);
#else
  return as_float(__builtin_convertvector(half, vint) << 16);
#endif
}
// Rounds to nearest, ties to even. NaNs that arithmetic makes stay NaNs.
ENGINE_INLINE void store(bf16* p, vfloat v) {
  const vint word = as_int(v);
  const vint rounded = word + 0x7fff + ((word >> 16) & 1);
#if defined(__AVX512F__)
  const __m512i upper = reinterpret_cast<__m512i>(rounded >> 16);
  const vshort half = reinterpret_cast<vshort>(_mm512_maskz_cvtepi32_epi16(0xFFFF, upper));
#else
  const vshort half = __builtin_convertvector((rounded >> 16) & 0xffff, vshort);
#endif
  std::memcpy(p, &half, sizeof half);
}

// Load and store the first n < lanes elements. The others read as zero and are not written.
template <class T>
ENGINE_INLINE vfloat load_part(const T* p, int n) {
  T buffer[lanes] = {};
  std::memcpy(buffer, p, static_cast<size_t>(n) * sizeof(T));
  return load(buffer);
}
template <class T>
ENGINE_INLINE void store_part(T* p, vfloat v, int n) {
  T buffer[lanes];
  store(buffer, v);
  std::memcpy(p, buffer, static_cast<size_t>(n) * sizeof(T));
}
#if defined(__AVX512F__)
template <>
ENGINE_INLINE vfloat load_part(const float* p, int n) {
  return reinterpret_cast<vfloat>(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p));
}
template <>
ENGINE_INLINE void store_part(float* p, vfloat v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), reinterpret_cast<__m512>(v));
}
#endif

ENGINE_INLINE vfloat maximum(vfloat a, vfloat b) { return a > b ? a : b; }

// Return the sum and the largest of the elements, in a fixed order: halves are added to halves.
ENGINE_INLINE float sum(vfloat v) {
  float part[lanes];
  std::memcpy(part, &v, sizeof v);
  for (int half = lanes / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) part[i] += part[i + half];
  return part[0];
}
ENGINE_INLINE float largest(vfloat v) {
  float part[lanes];
  std::memcpy(part, &v, sizeof v);
  for (int half = lanes / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) part[i] = part[i] > part[i + half] ? part[i] : part[i + half];
  return part[0];
}

// Returns e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2, with e^r by a polynomial of degree 6. Below -87.3 it is
// 0, above 88.7 it stays at e^88.7, and a NaN stays a NaN.
ENGINE_INLINE vfloat exp(vfloat x) {
  const vfloat low = splat(-87.33654f), high = splat(88.72283f);
  const vfloat bounded = x > high ? high : x;  // a NaN fails the comparison and passes
  const vfloat magic = splat(12582912.0f);     // 1.5 * 2^23: adding it rounds to an integer
  const vfloat shifted = bounded * 1.44269504f + magic;
  const vfloat n = shifted - magic;
  const vfloat r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
  vfloat p = splat(1.3981999e-3f);
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665795e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0000000e-1f;
  p = p * r * r + r + 1.0f;
  // This multiplies by 2^n in two factors, so that n = 128 does not overflow before the product does.
  const vint exponent = as_int(shifted) - as_int(magic);
  const vint half = exponent >> 1;
  const vfloat scaled = p * as_float((half + 127) << 23) * as_float((exponent - half + 127) << 23);
  return x < low ? vfloat{} : scaled;
}

// Returns 2^x for x up to 126: 2^floor(x) times a polynomial of degree 5 in the rest, good to 2 units in the last place
// (the coefficients are least-maximum fits of the relative error). Very low x give 0 or less than 1e-37, and a NaN
// stays a NaN.
ENGINE_INLINE vfloat exp2(vfloat x) {
#if defined(__AVX512F__)
  const vfloat r =
      reinterpret_cast<vfloat>(_mm512_maskz_reduce_ps(0xFFFF, reinterpret_cast<__m512>(x), 0x9));  // x - floor(x)
  vfloat p = splat(1.877576680e-3f);
  p = p * r + 8.989340284e-3f;
  p = p * r + 5.582631767e-2f;
  p = p * r + 2.401536173e-1f;
  p = p * r + 6.931530731e-1f;
  p = p * r + 9.999999251e-1f;
  return reinterpret_cast<vfloat>(
      _mm512_maskz_scalef_ps(0xFFFF, reinterpret_cast<__m512>(p), reinterpret_cast<__m512>(x)));
#else
  const vfloat low = splat(-125.0f), magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vfloat bounded = x < low ? low : x;
  const vfloat shifted = bounded + magic;
  const vfloat r = bounded - (shifted - magic);
  vfloat p = splat(1.327647203e-3f);
  p = p * r + 9.675541480e-3f;
  p = p * r + 5.550713275e-2f;
  p = p * r + 2.402211972e-1f;
  p = p * r + 6.931469671e-1f;
  p = p * r + 1.000000072f;
  // The exponents are added as words that wrap around.
  return reinterpret_cast<vfloat>(reinterpret_cast<vuint>(p) + (reinterpret_cast<vuint>(shifted) << 23));
#endif
}

// Returns the binary logarithm of a normal number above 0, to about 1e-7 or 2 units in the last place. With x = 2^n m,
// m from sqrt(1/2) to sqrt(2), and s = (m - 1) / (m + 1), it is n + log2 m,
// log2 m = 2 / ln 2 (s + s^3/3 + s^5/5 + ...). A NaN stays a NaN.
ENGINE_INLINE vfloat log2(vfloat x) {
  const vint root_half = vint{} + 0x3f3504f3;
  const vint n = (as_int(x) - root_half) >> 23;
  const vfloat m = as_float(as_int(x) - (n << 23));
  const vfloat s = (m - 1.0f) / (m + 1.0f), z = s * s;
  vfloat p = splat(3.2059889e-1f);
  p = p * z + 4.1219859e-1f;
  p = p * z + 5.7707802e-1f;
  p = p * z + 9.6179669e-1f;
  p = p * z + 2.8853901f;
  return x == x ? p * s + __builtin_convertvector(n, vfloat) : x;
}

// Returns 1 / x to about 1 unit in the last place, for |x| from 2^-126 to 2^126. A NaN stays a NaN.
ENGINE_INLINE vfloat reciprocal(vfloat x) {
#if defined(__AVX512F__)  // an estimate and a Newton step, faster than a division
  const vfloat r = reinterpret_cast<vfloat>(_mm512_maskz_rcp14_ps(0xFFFF, reinterpret_cast<__m512>(x)));
  return r + r * (1.0f - x * r);
#else
  return 1.0f / x;
#endif
}

}  // namespace engine::ENGINE_ISA
