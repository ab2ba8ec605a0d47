// Small matrix products in f32 registers, for operands that lie in cache and are padded, so that there are no edges.
#pragma once

#include "kernels/cpu/simd.h"

namespace engine::ENGINE_ISA {

#if defined(__AVX512F__)
inline constexpr int product_rows = 8;  // 8 x 2 vectors of sums; 32 registers
#else
inline constexpr int product_rows = 4;  // 4 x 2 of 16
#endif

// The members of a Kernel (driver.h) that takes its products here.
struct ProductKernel {
  static constexpr int64_t row_padding = 8, width_padding = lanes;  // product() takes rows by eights
  struct Registers {};                                              // it needs no registers of a thread's own
};

// A left matrix whose element (m, k) is at[m * row + k * step]. One of row and step is 1.
struct LeftMatrix {
  const float* at;
  int64_t row, step;
};

template <int vectors, bool accumulate>
inline void product_block(LeftMatrix a, const float* b, int64_t b_stride, float* c, int64_t c_stride, int64_t depth) {
  vfloat sums[product_rows][vectors];
#pragma GCC unroll 8
  for (int m = 0; m < product_rows; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[m][v] = accumulate ? load(c + m * c_stride + v * lanes) : vfloat{};
  const auto add = [&](const float* left, int64_t row, const float* right) __attribute__((always_inline)) {
    vfloat line[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) line[v] = load(right + v * lanes);
#pragma GCC unroll 8
    for (int m = 0; m < product_rows; ++m)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sums[m][v] += left[m * row] * line[v];
  };
  if (a.row == 1)
    for (int64_t k = 0; k < depth; ++k) add(a.at + k * a.step, 1, b + k * b_stride);
  else
    for (int64_t k = 0; k < depth; ++k) add(a.at + k, a.row, b + k * b_stride);
#pragma GCC unroll 8
  for (int m = 0; m < product_rows; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) store(c + m * c_stride + v * lanes, sums[m][v]);
}

// Takes c [rows, cols] = or += a [rows, depth] b [depth, cols]. rows is a multiple of 8, cols of lanes. It calls
// between() after each block of c.
template <bool accumulate, class Between>
void product(LeftMatrix a, const float* b, int64_t b_stride, float* c, int64_t c_stride, int64_t rows, int64_t cols,
             int64_t depth, const Between& between) {
  for (int64_t n = 0; n < cols; n += 2 * lanes)
    for (int64_t m = 0; m < rows; m += product_rows) {
      const LeftMatrix left{a.at + m * a.row, a.row, a.step};
      if (cols - n >= 2 * lanes)
        product_block<2, accumulate>(left, b + n, b_stride, c + m * c_stride + n, c_stride, depth);
      else product_block<1, accumulate>(left, b + n, b_stride, c + m * c_stride + n, c_stride, depth);
      between();
    }
}

}  // namespace engine::ENGINE_ISA
