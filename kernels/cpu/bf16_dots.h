// Products of bf16 by dot products of pairs in vectors, on processors that have AVX512_BF16 and no tile registers, for
// the *_bf16.cc files. Operands lie as tile registers take them (amx.h).
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/bf16.h"
#include "kernels/cpu/simd.h"
#include "kernels/sizes.h"

namespace engine::ENGINE_ISA {

static_assert(lanes == 16);

// Vectors need no preparation, as tile registers do.
struct TileRegisters {
  TileRegisters() {}
};

// The rows of a block of sums. With two vectors a row they take 16 of 32 registers, which hides the time of a product.
inline constexpr int64_t dot_rows = 8;

// A tile_product has at least this depth, and a multiple of so many rows. The depth of an across_product is a multiple
// of across_step.
inline constexpr int64_t least_depth = 16, row_step = dot_rows, across_step = 2;

// Says where the operands of a block of sums lie, for one range of k after another.
struct DotOperands {
  const bf16* a;
  int64_t a_stride, a_next;  // elements from row to row, and to the next range
  const uint32_t* b;
  int64_t b_stride, b_right, b_next;  // words from row to row, to the second vector, and to the next range
};

// Takes c [rows, vectors * lanes] = or += a b over so many ranges of `depth` k. c's rows lie c_stride elements apart.
template <int rows, int vectors, int depth = 32>
ENGINE_INLINE void add_dots(const DotOperands& of, int64_t ranges, bool add, float* c, int64_t c_stride) {
  __m512 sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[r][v] = _mm512_setzero_ps();
  constexpr int groups = (rows + 2) / 3;  // of rows with one pointer
  const bf16* group[groups];
#pragma GCC unroll 3
  for (int g = 0; g < groups; ++g) group[g] = of.a + 3 * g * of.a_stride;
  const uint32_t* b = of.b;
  for (int64_t range = 0; range < ranges; ++range) {
    const uint32_t* pairs = b;
#pragma GCC unroll 4
    for (int pair = 0; pair < depth / 2; ++pair, pairs += of.b_stride) {
      __m512bh right[vectors];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        right[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(pairs + v * of.b_right));
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        int32_t word;
        std::memcpy(&word, group[r / 3] + r % 3 * of.a_stride + 2 * pair, sizeof word);
        const __m512bh left = reinterpret_cast<__m512bh>(_mm512_set1_epi32(word));
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], left, right[v]);
      }
    }
    b += of.b_next;
#pragma GCC unroll 3
    for (int g = 0; g < groups; ++g) group[g] += of.a_next;
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      float* const at = c + r * c_stride + v * lanes;
      _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), sums[r][v]) : sums[r][v]);
    }
}

// Takes c [rows, cols] = or += a [rows, depth] b [depth, cols]. rows is a multiple of row_step, cols of 16,
// depth is 16 or a multiple of 32. Strides are in elements, b's in words.
template <bool accumulate>
[[gnu::noinline]] void tile_product(const bf16* a, int64_t a_stride, const uint32_t* b, int64_t b_stride, float* c,
                                    int64_t c_stride, int64_t rows, int64_t cols, int64_t depth) {
  for (int64_t n = 0; n < cols; n += 2 * lanes)
    for (int64_t m = 0; m < rows; m += dot_rows) {
      const DotOperands of{a + m * a_stride, a_stride, 32, b + n, b_stride, lanes, 16 * b_stride};
      float* const at = c + m * c_stride + n;
      const auto add = [&]<int vectors>(std::integral_constant<int, vectors>) __attribute__((always_inline)) {
        if (depth == 16) add_dots<dot_rows, vectors, 16>(of, 1, accumulate, at, c_stride);
        else add_dots<dot_rows, vectors>(of, depth / 32, accumulate, at, c_stride);
      };
      if (n + lanes < cols) add(std::integral_constant<int, 2>{});
      else add(std::integral_constant<int, 1>{});
    }
}

// Takes c [rows, cols] += a b [depth, cols], where a lies across: in words as b, [depth/2][rows]. rows and cols are
// multiples of 32. Strides are in words, c's in elements.
[[gnu::noinline]] inline void across_product(const uint32_t* a, int64_t a_stride, const uint32_t* b, int64_t b_stride,
                                             float* c, int64_t c_stride, int64_t rows, int64_t cols, int64_t depth) {
  for (int64_t n = 0; n < cols; n += 2 * lanes)
    for (int64_t m = 0; m < rows; m += dot_rows) {
      __m512 sums[dot_rows][2];
      float* const at[3] = {c + m * c_stride + n, c + (m + 3) * c_stride + n, c + (m + 6) * c_stride + n};
#pragma GCC unroll 8
      for (int r = 0; r < dot_rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) sums[r][v] = _mm512_loadu_ps(at[r / 3] + r % 3 * c_stride + v * lanes);
      const uint32_t *left = a + m, *right = b + n;
      for (int64_t pair = 0; pair < depth / 2; ++pair, left += a_stride, right += b_stride) {
        __m512bh line[2];
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) line[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right + v * lanes));
#pragma GCC unroll 8
        for (int r = 0; r < dot_rows; ++r) {
          const __m512bh word = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int32_t>(left[r])));
#pragma GCC unroll 2
          for (int v = 0; v < 2; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], word, line[v]);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < dot_rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) _mm512_storeu_ps(at[r / 3] + r % 3 * c_stride + v * lanes, sums[r][v]);
    }
}

// As add_dots, for `rows` rows of a panel of 32 columns.
template <int rows, bool in_rows>
[[gnu::noinline]] void add_panel_dots(const bf16* a, int64_t a_stride, int64_t a_next, const uint32_t* b,
                                      int64_t ranges, bool add, float* tile) {
  const DotOperands of{a, in_rows ? a_stride : 32, in_rows ? 32 : a_next, b, 16, 256, 512};
  add_dots<rows, 2>(of, ranges, add, tile, 2 * lanes);
}

// Takes tile [count, 32] = or += a [count, k] b [k, 32], where a and b are panels (KernelBf16). between(4) is called
// once for each 32 k.
template <class Left, class Between>
ENGINE_INLINE void multiply_panels(const Left& a, const bf16* b, int64_t k, int count, bool add, float* tile,
                                   const Between& between) {
  constexpr int64_t chunk = 256;  // of k: 16 KiB of each operand, which the nearest cache holds
  const int64_t groups = ceil_div(count, dot_rows);
  const bool in_rows = a.next == 32;  // read in place; packed, the next 32 k lie behind those of all rows
  int64_t first = 0;
  do {
    const int64_t ranges = ceil_div(std::min(chunk, k - first), 32);
    const auto* const pairs = reinterpret_cast<const uint32_t*>(b + first * 2 * lanes);
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t row = group * dot_rows;
      const bf16* const rows =
          a.tiles + first / 32 * a.next + row / 16 * a.second + row % 16 * a.row_bytes / 2;
      const auto add_rows = [&]<int some>(std::integral_constant<int, some>) {
        float* const to = tile + row * 2 * lanes;
        if (in_rows) add_panel_dots<some, true>(rows, a.row_bytes / 2, a.next, pairs, ranges, add || first, to);
        else add_panel_dots<some, false>(rows, a.row_bytes / 2, a.next, pairs, ranges, add || first, to);
      };
      if (count - row > 4) add_rows(std::integral_constant<int, 8>{});
      else if (count - row > 2) add_rows(std::integral_constant<int, 4>{});
      else if (count - row > 1) add_rows(std::integral_constant<int, 2>{});
      else add_rows(std::integral_constant<int, 1>{});
      for (int64_t i = ranges * group / groups; i < ranges * (group + 1) / groups; ++i) between(4);
    }
    first += chunk;
  } while (first < k);
}

}  // namespace engine::ENGINE_ISA
