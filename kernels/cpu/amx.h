// Products of bf16 in the tile registers of processors that have AMX, for the *_bf16.cc files. There are eight tiles of
// 16 rows of 64 bytes. Tiles 0 ... 3 hold sums, 32 x 32 f32 as [upper left, upper right, lower left, lower right], and
// operands pass through the other four.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <type_traits>

#include "core/bf16.h"
#include "kernels/checks.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose.h"
#include "kernels/sizes.h"

namespace engine::ENGINE_ISA {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Gives the calling thread tile registers for as long as it lives.
class TileRegisters {
 public:
  TileRegisters() {
    static constexpr TileConfig config;
    _tile_loadconfig(&config);
  }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

// Begins sums with those at c, or with zeros. `lower` and `right` tell whether the lower 16 rows and the right 16
// columns are used.
template <bool lower = true, bool right = true>
ENGINE_INLINE void begin_sums(bool add, const float* c, int64_t row_bytes) {
  if (add) {
    _tile_loadd(0, c, row_bytes);
    if constexpr (right) _tile_loadd(1, c + 16, row_bytes);
    if constexpr (lower) _tile_loadd(2, c + row_bytes * 4, row_bytes);
    if constexpr (lower && right) _tile_loadd(3, c + row_bytes * 4 + 16, row_bytes);
  } else {
    _tile_zero(0);
    if constexpr (right) _tile_zero(1);
    if constexpr (lower) _tile_zero(2);
    if constexpr (lower && right) _tile_zero(3);
  }
}
template <bool lower = true, bool right = true>
ENGINE_INLINE void store_sums(float* c, int64_t row_bytes) {
  _tile_stored(0, c, row_bytes);
  if constexpr (right) _tile_stored(1, c + 16, row_bytes);
  if constexpr (lower) _tile_stored(2, c + row_bytes * 4, row_bytes);
  if constexpr (lower && right) _tile_stored(3, c + row_bytes * 4 + 16, row_bytes);
}

// Adds the products of 32 rows of 32 k with 16 pairs of k in 32 columns. The lower 16 rows lie `a_lower` elements on,
// and the right 16 columns begin at b_right.
template <bool lower = true, bool right = true>
ENGINE_INLINE void add_products(const bf16* a, int64_t a_row_bytes, int64_t a_lower, const void* b, const void* b_right,
                                int64_t b_row_bytes) {
  _tile_loadd(4, a, a_row_bytes);
  _tile_loadd(6, b, b_row_bytes);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (right) {
    _tile_loadd(7, b_right, b_row_bytes);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (lower) {
    _tile_loadd(5, a + a_lower, a_row_bytes);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (right) _tile_dpbf16ps(3, 5, 7);
  }
}

// Adds products for one range of 32 k after another. load_operands loads the first range. add_loaded_and_load then
// loads each operand of the next range as soon as its register is free, while the other products go on, and add_loaded
// adds the last range. A load that waits for its register holds up the loads behind it: out of the L1 cache this order
// gave 700 GFLOP/s, the plain one 610.
struct TileOperands {
  const bf16 *a, *b;
  int64_t a_row_bytes, a_lower, b_right, b_row_bytes;  // a_lower, b_right: elements to the second tile
};
template <bool lower = true>
ENGINE_INLINE void load_operands(const TileOperands& from) {
  _tile_loadd(4, from.a, from.a_row_bytes);
  _tile_loadd(6, from.b, from.b_row_bytes);
  _tile_loadd(7, from.b + from.b_right, from.b_row_bytes);
  if constexpr (lower) _tile_loadd(5, from.a + from.a_lower, from.a_row_bytes);
}
template <bool lower = true>
ENGINE_INLINE void add_loaded() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if constexpr (lower) {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}
template <bool lower = true>
ENGINE_INLINE void add_loaded_and_load(const TileOperands& next) {
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (!lower) _tile_loadd(6, next.b, next.b_row_bytes);
  _tile_dpbf16ps(1, 4, 7);
  _tile_loadd(4, next.a, next.a_row_bytes);
  if constexpr (lower) {
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(6, next.b, next.b_row_bytes);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(5, next.a + next.a_lower, next.a_row_bytes);
  }
  _tile_loadd(7, next.b + next.b_right, next.b_row_bytes);
}

// A tile_product has at least this depth, and a multiple of so many rows. The depth of an across_product is a multiple
// of across_step.
inline constexpr int64_t least_depth = 32, row_step = 16, across_step = 32;

// Takes c [rows, cols] = or += a [rows, depth] b [depth, cols]. rows is a multiple of row_step, cols of 16, depth of
// 32. Strides are in elements, b's in words.
template <bool accumulate>
void tile_product(const bf16* a, int64_t a_stride, const uint32_t* b, int64_t b_stride, float* c, int64_t c_stride,
                  int64_t rows, int64_t cols, int64_t depth) {
  const int64_t a_bytes = a_stride * 2, b_bytes = b_stride * 4, c_bytes = c_stride * 4;
  const auto product = [&](int64_t m, int64_t n, auto lower, auto right) __attribute__((always_inline)) {
    float* at = c + m * c_stride + n;
    begin_sums<lower.value, right.value>(accumulate, at, c_bytes);
    for (int64_t k = 0; k < depth; k += 32) {
      const uint32_t* pairs = b + k / 2 * b_stride + n;
      add_products<lower.value, right.value>(a + m * a_stride + k, a_bytes, 16 * a_stride, pairs, pairs + 16, b_bytes);
    }
    store_sums<lower.value, right.value>(at, c_bytes);
  };
  for (int64_t m = 0; m < rows; m += 32)
    for (int64_t n = 0; n < cols; n += 32)
      with_flag(m + 16 < rows,
                [&](auto lower) { with_flag(n + 16 < cols, [&](auto right) { product(m, n, lower, right); }); });
}

// Takes c [rows, cols] += a b [depth, cols], where a lies across: in words as b, [depth/2][rows]. rows and cols are
// multiples of 32, depth is at most 32. Strides are in words, c's in elements.
inline void across_product(const uint32_t* a, int64_t a_stride, const uint32_t* b, int64_t b_stride, float* c,
                           int64_t c_stride, int64_t rows, int64_t cols, int64_t depth) {
  alignas(64) uint32_t left[32 * lanes];  // [32][depth/2]
  for (int64_t m = 0; m < rows; m += 32) {
    transpose_matrix(reinterpret_cast<const float*>(a + m), depth / 2, 32, reinterpret_cast<float*>(left), a_stride,
                     lanes);
    tile_product<true>(reinterpret_cast<const bf16*>(left), 2 * lanes, b, b_stride, c + m * c_stride, c_stride, 32,
                       cols, depth);
  }
}

// Takes tile [count, 32] = or += a [count, k] b [k, 32], where a and b are panels (KernelBf16). between(4) is called
// once for each 32 k, for what vectors do meanwhile.
template <class Left, class Between>
ENGINE_INLINE void multiply_panels(const Left& a, const bf16* b, int64_t k, int count, bool add, float* tile,
                                   const Between& between) {
  const auto multiply_rows = [&](auto lower, const auto& meanwhile) __attribute__((always_inline)) {
    constexpr int64_t row_bytes = 32 * 4;
    begin_sums<lower.value>(add, tile, row_bytes);
    TileOperands operands{a.tiles, b, a.row_bytes, a.second, 512, 64};
    if (k > 0) load_operands<lower.value>(operands);
    for (int64_t j = 32; j < k; j += 32) {
      operands.a += a.next;
      operands.b += 1024;
      add_loaded_and_load<lower.value>(operands);
      meanwhile(4);
    }
    if (k > 0) add_loaded<lower.value>();
    meanwhile(4);
    store_sums<lower.value>(tile, row_bytes);
  };
  if (count > 16) return multiply_rows(std::true_type{}, between);
  // With so few rows the bound is b's way from memory, and the processor's own prefetcher fetches too little of it.
  const char* ahead = reinterpret_cast<const char*>(b) + 4096;
  multiply_rows(std::false_type{}, [&](int) __attribute__((always_inline)) {
    for (int line = 0; line < 32; ++line) __builtin_prefetch(ahead + line * 64, 0, 2);
    ahead += 2048;  // two tiles of b
  });
}

}  // namespace engine::ENGINE_ISA
