// The f32 kernel. It keeps a tile of c in registers and multiplies one vector of b by one number of a at a time.
#pragma once

#include <utility>

#include "kernels/matmul/cpu/pack.h"

namespace engine::ENGINE_ISA {

struct KernelF32 {
  // A chunk has at most most_k terms. Of b a block takes b_elements, which stay in the L2 cache beside its sums:
  // processors with AVX-512 have at least 1 MiB of it, others half.
#if defined(__AVX512F__)
  static constexpr int rows = 14;  // 28 sums, 2 of b and 1 of a: 31 of 32 registers
  static constexpr int64_t most_k = 256, b_elements = 1 << 18;
#elif defined(__AVX2__)
  static constexpr int rows = 6;
  static constexpr int64_t most_k = 384, b_elements = 1 << 16;
#else
  static constexpr int rows = 4;
  static constexpr int64_t most_k = 384, b_elements = 1 << 16;
#endif
  static constexpr int cols = 2 * lanes;
  static constexpr int tile_elements = rows * cols;

  // A few rows of op(a). Element (i, k) is at at[i * stride + k], or, packed, with stride 0, at at[k * rows + i].
  struct Left {
    const float* at;
    int64_t stride;
  };

  // tile[count, cols] = or += a [count, k] b [k, cols], with b packed. The kernel fetches two lines of ahead_lines
  // with every few k: all at once they would keep its own loads waiting.
  static void multiply(Left a, const float* b, int64_t k, int count, bool add, float* tile, FetchAhead<>& ahead_lines) {
    if (a.stride) multiply_count<true>(a, b, k, count, add, tile, ahead_lines);
    else multiply_count<false>(a, b, k, count, add, tile, ahead_lines);
  }

 private:
  template <bool in_rows>
  static void multiply_count(Left a, const float* b, int64_t k, int count, bool add, float* tile,
                             FetchAhead<>& ahead_lines) {
    if (count == rows) [[likely]]
      return multiply_rows<rows, in_rows>(a, b, k, add, tile, ahead_lines);
    [&]<int... smaller>(std::integer_sequence<int, smaller...>) {
      (void)((count == smaller + 1 && (multiply_rows<smaller + 1, in_rows>(a, b, k, add, tile, ahead_lines), true)) ||
             ...);
    }
    (std::make_integer_sequence<int, rows - 1>{});
  }

  template <int count, bool in_rows>
  [[gnu::noinline]] static void multiply_rows(Left a, const float* b, int64_t k, bool add, float* tile,
                                              FetchAhead<>& ahead_lines) {
    constexpr int ahead = 4, groups = (count + 2) / 3;  // of k; of rows with one pointer
    vfloat sums[count][2];
#pragma GCC unroll 14
    for (int i = 0; i < count; ++i) sums[i][0] = sums[i][1] = vfloat{};
    const float* group[groups];
#pragma GCC unroll 5
    for (int g = 0; g < groups; ++g) group[g] = in_rows ? a.at + 3 * g * a.stride : a.at;
    const auto add_term = [&](int64_t j) __attribute__((always_inline)) {
      const float* const line = b + j * cols;
      const vfloat b0 = load(line), b1 = load(line + lanes);
      if constexpr (cols * sizeof(float) > 64) {  // one line after the other is fetched without being asked for
        __builtin_prefetch(line + ahead * cols);
        __builtin_prefetch(line + ahead * cols + lanes);
      }
#pragma GCC unroll 14
      for (int i = 0; i < count; ++i) {
        const vfloat ai = splat(in_rows ? group[i / 3][i % 3 * a.stride + j] : group[0][j * rows + i]);
        sums[i][0] += ai * b0;
        sums[i][1] += ai * b1;
      }
    };
    const auto advance = [&](int64_t by) __attribute__((always_inline)) {
      b += by * cols;
#pragma GCC unroll 5
      for (int g = 0; g < groups; ++g) group[g] += in_rows ? by : by * rows;
    };
    for (; k >= ahead; k -= ahead, advance(ahead)) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < ahead; ++j) add_term(j);
      ahead_lines.two_lines();
    }
    for (; k > 0; --k, advance(1)) add_term(0);
#pragma GCC unroll 14
    for (int i = 0; i < count; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        float* const at = tile + i * cols + v * lanes;
        store(at, add ? load(at) + sums[i][v] : sums[i][v]);
      }
  }
};

}  // namespace engine::ENGINE_ISA
