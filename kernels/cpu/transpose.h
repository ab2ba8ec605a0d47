// Transposes of lanes x lanes words in registers.
#pragma once

#include "kernels/cpu/simd.h"

namespace engine::ENGINE_ISA {

// Exchanges v[i][j] and v[j][i]: in step d, elements of rows i and i + d change places across the bit d of their place.
template <int d, class Vector>
ENGINE_INLINE void exchange(Vector (&v)[lanes]) {
  vint low, high;
  for (int j = 0; j < lanes; ++j) {
    low[j] = j & d ? lanes + j - d : j;
    high[j] = j & d ? lanes + j : j + d;
  }
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i)
    if (!(i & d)) {
      const Vector first = v[i], second = v[i + d];
      v[i] = __builtin_shuffle(first, second, low);
      v[i + d] = __builtin_shuffle(first, second, high);
    }
}
template <class Vector>
ENGINE_INLINE void transpose(Vector (&v)[lanes]) {
  exchange<1>(v);
  exchange<2>(v);
  if constexpr (lanes >= 8) exchange<4>(v);
  if constexpr (lanes >= 16) exchange<8>(v);
}

// Writes to[c][r] = from[r][c] for lanes x lanes words.
ENGINE_INLINE void transpose(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  vfloat rows[lanes];
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) rows[i] = load(from + i * from_stride);
  transpose(rows);
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) store(to + i * to_stride, rows[i]);
}

// Writes to[c][r] = from[r][c] for matrices whose sides are multiples of lanes.
inline void transpose_matrix(const float* from, int64_t rows, int64_t cols, float* to, int64_t from_stride,
                             int64_t to_stride) {
  for (int64_t r = 0; r < rows; r += lanes)
    for (int64_t c = 0; c < cols; c += lanes)
      transpose(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
}

}  // namespace engine::ENGINE_ISA
