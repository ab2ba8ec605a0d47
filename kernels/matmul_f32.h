// The f32 kernel: a tile of c in registers, one vector of b times one number of a at a time.
#pragma once

#include <utility>

#include "kernels/matmul_pack.h"

namespace engine::ENGINE_ISA {

struct KernelF32 {
  using Element = float;
  struct Registers {};  // nothing that a thread must ask for
#if defined(__AVX512F__)
  static constexpr int rows = 14;  // 28 sums, 2 of b and 1 of a: 31 of 32 registers
#elif defined(__AVX2__)
  static constexpr int rows = 6;
#else
  static constexpr int rows = 4;
#endif
  static constexpr int cols = 2 * lanes;
  static constexpr int64_t k_block = 1024;
  static constexpr int64_t row_panels = 16, col_panels = 8;  // of a block of c: its operands stay in the L2 cache
  bool rounds;                                               // operands to bf16

  using Left = const float*;
  static bool reads_in_place(const Operand&) { return false; }
  static Left in_place(const Operand&, int64_t, int64_t) { return nullptr; }
  static Left packed(const float* panel) { return panel; }

  static int64_t a_panel_elements(int64_t k) { return k * rows; }
  static int64_t b_panel_elements(int64_t k) { return k * cols; }
  void pack_a(const Operand& a, int64_t panel, int64_t begin, int64_t end, float* to) const {
    pack<rows>(a, panel * rows, begin, end, to);
  }
  void pack_b(const Operand& b, int64_t panel, int64_t begin, int64_t end, float* to) const {
    pack<cols>(b, panel * cols, begin, end, to);
  }
  template <int width>
  void pack(const Operand& from, int64_t first, int64_t begin, int64_t end, float* to) const {
    if (from.is_bf16) pack_panel_f32<width, bf16>(from, first, begin, end, rounds, to);
    else pack_panel_f32<width, float>(from, first, begin, end, rounds, to);
  }

  template <int count>
  static void multiply_rows(const float* a, const float* b, int64_t k, bool add, float* tile) {
    vfloat sums[count][2] = {};
    for (int64_t j = 0; j < k; ++j, a += rows, b += cols) {
      const vfloat b0 = load(b), b1 = load(b + lanes);
      __builtin_prefetch(a + 16 * rows);
      __builtin_prefetch(b + 4 * cols);
      __builtin_prefetch(b + 4 * cols + lanes);
#pragma GCC unroll 14
      for (int i = 0; i < count; ++i) {
        const vfloat ai = splat(a[i]);
        sums[i][0] += ai * b0;
        sums[i][1] += ai * b1;
      }
    }
    for (int i = 0; i < count; ++i)
      for (int v = 0; v < 2; ++v) {
        float* const at = tile + i * cols + v * lanes;
        store(at, add ? load(at) + sums[i][v] : sums[i][v]);
      }
  }

  // tile[count, cols] = or += a panel times b panel.
  template <class Between>
  void multiply(const float* a, const float* b, int64_t k, int count, bool add, float* tile, const Between&) const {
    if (count == rows) return multiply_rows<rows>(a, b, k, add, tile);
    [&]<int... smaller>(std::integer_sequence<int, smaller...>) {
      (void)((count == smaller + 1 && (multiply_rows<smaller + 1>(a, b, k, add, tile), true)) || ...);
    }
    (std::make_integer_sequence<int, rows - 1>{});
  }
};

}  // namespace engine::ENGINE_ISA
