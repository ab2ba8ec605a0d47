// GELU and its slope in pieces. With P the standard normal's distribution function,
//   gelu(x)  = x/2 + |x| half(|x|),               half(t)  = P(t) - 1/2,
//   gelu'(x) = 1/2 + sign(x) slope(|x|),          slope(t) = P(t) - 1/2 + t e^(-t^2/2) / sqrt(2 pi).
// On every piece of [0, 5.6) half is a polynomial of degree 3, good to 3e-7, and slope one of degree 4, good to 2e-7.
// Beyond, both are 1/2. A vector of 16 reads a table of 32 floats from two registers in one permutation, so this costs
// little more than half of e^x and a quotient.
#pragma once

#include <array>

#include "kernels/cpu/simd.h"

namespace engine::ENGINE_ISA {

// Piece n holds the t with round(pieces_a_unit t) = n, and r is the rest, from -1/2 to 1/2. The value of the last piece
// is 1/2.
inline constexpr size_t gelu_piece_count = 32;
inline constexpr float gelu_pieces_a_unit = 30.5f / 5.6f;
template <size_t degree>
struct GeluPieces {
  alignas(64) std::array<std::array<float, gelu_piece_count>, degree + 1> coefficient{};  // of r^i, by piece
};

// Returns half(t), t >= 0, by P(t) - 1/2 = e^(-t^2/2) / sqrt(2 pi) (t + t^3/3 + t^5/15 + ...), or slope(t).
constexpr double gelu_part(double t, bool slope) {
  double exponential = 1, power = 1;  // e^(t^2/2)
  for (int n = 1; n < 100; ++n) exponential += power *= t * t / 2 / n;
  double series = t, term = t;
  for (int n = 3; n < 200; n += 2) series += term *= t * t / n;
  return (series + (slope ? t : 0)) * 0.3989422804014327 / exponential;
}

// Makes the table. A piece's polynomial goes through the values at the piece's Chebyshev points. Both functions are
// odd.
template <size_t degree>
constexpr GeluPieces<degree> gelu_pieces(const std::array<double, degree + 1>& at, bool slope) {
  GeluPieces<degree> pieces;
  for (size_t n = 0; n + 1 < gelu_piece_count; ++n) {
    double difference[degree + 1] = {};
    for (size_t i = 0; i <= degree; ++i) {
      const double t = (static_cast<double>(n) + at[i]) / static_cast<double>(gelu_pieces_a_unit);
      difference[i] = t < 0 ? -gelu_part(-t, slope) : gelu_part(t, slope);
    }
    for (size_t order = 1; order <= degree; ++order)
      for (size_t i = degree; i >= order; --i)
        difference[i] = (difference[i] - difference[i - 1]) / (at[i] - at[i - order]);
    double polynomial[degree + 1] = {difference[degree]};  // Newton's form, multiplied out
    for (size_t i = degree; i-- > 0;) {
      for (size_t power = degree; power > 0; --power)
        polynomial[power] = polynomial[power - 1] - at[i] * polynomial[power];
      polynomial[0] = difference[i] - at[i] * polynomial[0];
    }
    for (size_t i = 0; i <= degree; ++i) pieces.coefficient[i][n] = static_cast<float>(polynomial[i]);
  }
  pieces.coefficient[0][gelu_piece_count - 1] = 0.5f;
  return pieces;
}

inline constexpr GeluPieces<3> gelu_half =
    gelu_pieces<3>({-0.46193976625564337, -0.19134171618254489, 0.19134171618254489, 0.46193976625564337}, false);
inline constexpr GeluPieces<4> gelu_slopes =
    gelu_pieces<4>({-0.47552825814757677, -0.29389262614623657, 0, 0.29389262614623657, 0.47552825814757677}, true);

#if defined(__AVX512F__)
// Returns the function's value at each t >= 0. A NaN stays a NaN.
template <size_t degree>
ENGINE_INLINE vfloat value_of(const GeluPieces<degree>& pieces, vfloat t) {
  const vfloat magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vfloat last = splat(gelu_piece_count - 0.6f), scaled = t * gelu_pieces_a_unit;
  const vfloat place = reinterpret_cast<vfloat>(
      _mm512_maskz_min_ps(0xFFFF, reinterpret_cast<__m512>(last), reinterpret_cast<__m512>(scaled)));
  const vfloat shifted = place + magic, r = place - (shifted - magic);
  const auto of_piece = [&](size_t power) __attribute__((always_inline)) {
    const float* table = pieces.coefficient[power].data();
    return reinterpret_cast<vfloat>(_mm512_permutex2var_ps(_mm512_load_ps(table), reinterpret_cast<__m512i>(shifted),
                                                           _mm512_load_ps(table + lanes)));
  };
  vfloat value = of_piece(degree);
  for (size_t power = degree; power-- > 0;) value = value * r + of_piece(power);
  return value;
}
#endif

}  // namespace engine::ENGINE_ISA
