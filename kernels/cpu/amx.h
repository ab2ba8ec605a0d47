// The tile registers of processors that have AMX, for the *_amx.cc files. There are eight tiles of 16 rows of 64 bytes.
// Tiles 0 ... 3 hold sums, 32 x 32 f32 as [upper left, upper right, lower left, lower right], and operands pass through
// the other four.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "core/bf16.h"

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
inline __attribute__((always_inline)) void begin_sums(bool add, const float* c, int64_t row_bytes) {
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
inline __attribute__((always_inline)) void store_sums(float* c, int64_t row_bytes) {
  _tile_stored(0, c, row_bytes);
  if constexpr (right) _tile_stored(1, c + 16, row_bytes);
  if constexpr (lower) _tile_stored(2, c + row_bytes * 4, row_bytes);
  if constexpr (lower && right) _tile_stored(3, c + row_bytes * 4 + 16, row_bytes);
}

// Adds the products of 32 rows of 32 k with 16 pairs of k in 32 columns. The lower 16 rows lie `a_lower` elements on,
// and the right 16 columns begin at b_right.
template <bool lower = true, bool right = true>
inline __attribute__((always_inline)) void add_products(const bf16* a, int64_t a_row_bytes, int64_t a_lower,
                                                        const void* b, const void* b_right, int64_t b_row_bytes) {
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
inline __attribute__((always_inline)) void load_operands(const TileOperands& from) {
  _tile_loadd(4, from.a, from.a_row_bytes);
  _tile_loadd(6, from.b, from.b_row_bytes);
  _tile_loadd(7, from.b + from.b_right, from.b_row_bytes);
  if constexpr (lower) _tile_loadd(5, from.a + from.a_lower, from.a_row_bytes);
}
template <bool lower = true>
inline __attribute__((always_inline)) void add_loaded() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if constexpr (lower) {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}
template <bool lower = true>
inline __attribute__((always_inline)) void add_loaded_and_load(const TileOperands& next) {
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

}  // namespace engine::ENGINE_ISA
