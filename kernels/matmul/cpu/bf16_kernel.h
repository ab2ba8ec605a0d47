// The kernel for bf16. It multiplies pairs of bf16 for a tile of 32 x 32 sums, in tile registers (kernels/cpu/amx.h) or
// by dot products in vectors (kernels/cpu/bf16_dots.h). Operands lie in memory as tile registers hold them: 16 rows of
// 32 k of op(a), 16 pairs of k for 16 columns of op(b).
#pragma once

#include "kernels/cpu/bf16_instructions.h"
#include "kernels/matmul/cpu/pack.h"

namespace engine::ENGINE_ISA {

// A tile holds 16 x 16 pairs of bf16. Source vectors hold 16 pairs too, of one row where k is contiguous, else of one
// pair of k for 16 rows. The tile takes one of these, or the transpose of the other.
template <class T>
inline __m512i row_of_pairs(const T* p, uint32_t present) {
  if constexpr (sizeof(T) == 2) return _mm512_maskz_loadu_epi16(present, p);
  const float* f = reinterpret_cast<const float*>(p);
  return reinterpret_cast<__m512i>(
      _mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(static_cast<__mmask16>(present >> 16), f + 16),
                          _mm512_maskz_loadu_ps(static_cast<__mmask16>(present), f)));
}
template <class T>
inline __m512i pairs_of_rows(const T* first, const T* second, __mmask16 present, __mmask16 second_present,
                      __m512i interleave) {
  __m512i both;
  if constexpr (sizeof(T) == 2) {
    both = _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(present, first)),
                                    _mm256_maskz_loadu_epi16(second_present, second), 1);
  } else {
    both = reinterpret_cast<__m512i>(
        _mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(second_present, second), _mm512_maskz_loadu_ps(present, first)));
  }
  return _mm512_permutexvar_epi16(interleave, both);
}

// Packs the tile of rows i ... i+15, k ... k+31 (to `end`), with zeros beyond the operand.
template <class T, bool k_contiguous, bool transposed>
void pack_tile(const Operand& from, int64_t i, int64_t k, int64_t end, __m512i interleave, bf16* tile) {
  const T* data = static_cast<const T*>(from.data);
  const int rows = static_cast<int>(std::clamp<int64_t>(from.outer - i, 0, 16));
  const int terms = static_cast<int>(std::min<int64_t>(end - k, 32));
  vfloat v[16];
  if constexpr (k_contiguous) {
    const uint32_t present = terms == 32 ? ~0u : (1u << terms) - 1;
    const T* row = data + i * from.stride + k;
    if (rows == 16) {
      for (int r = 0; r < 16; ++r, row += from.stride) v[r] = reinterpret_cast<vfloat>(row_of_pairs(row, present));
    } else {
      for (int r = 0; r < 16; ++r, row += from.stride)
        v[r] = r < rows ? reinterpret_cast<vfloat>(row_of_pairs(row, present)) : vfloat{};
    }
  } else {
    const __mmask16 present = static_cast<__mmask16>((1u << rows) - 1);
    const T* row = data + k * from.stride + i;
    if (terms == 32) {
      for (int p = 0; p < 16; ++p, row += 2 * from.stride)
        v[p] = reinterpret_cast<vfloat>(pairs_of_rows(row, row + from.stride, present, present, interleave));
    } else {
      for (int p = 0; p < 16; ++p, row += 2 * from.stride) {
        const __mmask16 none = 0;
        v[p] = 2 * p >= terms
                   ? vfloat{}
                   : reinterpret_cast<vfloat>(pairs_of_rows(row, 2 * p + 1 < terms ? row + from.stride : row, present,
                                                            2 * p + 1 < terms ? present : none, interleave));
      }
    }
  }
  if constexpr (transposed) transpose(v);
  for (int r = 0; r < 16; ++r) store(reinterpret_cast<float*>(tile) + r * 16, v[r]);
}

template <class T, bool k_contiguous, bool transposed>
void pack_panel(const Operand& from, int64_t first, int64_t begin, int64_t end, bf16* to) {
  alignas(64) uint16_t order[32];
  for (uint16_t i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + (i & 1) * 16);
  const __m512i interleave = _mm512_load_si512(order);
  for (int64_t k = begin; k < end; k += 32, to += 1024) {
    pack_tile<T, k_contiguous, transposed>(from, first, k, end, interleave, to);
    pack_tile<T, k_contiguous, transposed>(from, first + 16, k, end, interleave, to + 512);
  }
}

struct KernelBf16 {
  static constexpr int rows = 32, cols = 32;
  static constexpr int64_t k_block = 1024;
  static constexpr int64_t row_panels = 16, col_panels = 8;

  // Two tiles of a, one below the other, packed or where a lies in memory, and the distance to the next 32 k.
  struct Left {
    const bf16* tiles;
    int64_t row_bytes, second, next;
  };
  // The last k of a row may not fill a range of 32. They are then packed apart, which pays for long rows.
  static bool reads_in_place(const Operand& a) { return a.is_bf16 && a.k_contiguous && (a.k % 32 == 0 || a.k > 4096); }
  static Left in_place(const Operand& a, int64_t panel, int64_t k) {
    return {static_cast<const bf16*>(a.data) + panel * rows * a.stride + k, a.stride * 2, a.stride * 16, 32};
  }
  static Left packed(const bf16* panel) { return {panel, 64, 512, 1024}; }

  static int64_t a_panel_elements(int64_t k) { return ceil_div(k, 32) * 1024; }
  static int64_t b_panel_elements(int64_t k) { return ceil_div(k, 32) * 1024; }
  template <bool of_b>
  static void pack(const Operand& from, int64_t first, int64_t begin, int64_t end, bf16* to) {
    if (from.is_bf16)
      from.k_contiguous ? pack_panel<bf16, true, of_b>(from, first, begin, end, to)
                        : pack_panel<bf16, false, !of_b>(from, first, begin, end, to);
    else
      from.k_contiguous ? pack_panel<float, true, of_b>(from, first, begin, end, to)
                        : pack_panel<float, false, !of_b>(from, first, begin, end, to);
  }
  static void pack_a(const Operand& a, int64_t panel, int64_t begin, int64_t end, bf16* to) {
    pack<false>(a, panel * rows, begin, end, to);
  }
  static void pack_b(const Operand& b, int64_t panel, int64_t begin, int64_t end, bf16* to) {
    pack<true>(b, panel * cols, begin, end, to);
  }

  // tile [count, cols] = or += a [count, k] b [k, cols]. between(4) is called once for each 32 k.
  template <class Between>
  static ENGINE_INLINE void multiply(Left a, const bf16* b, int64_t k, int count, bool add, float* tile,
                                     const Between& between) {
    multiply_panels(a, b, k, count, add, tile, between);
  }
};

}  // namespace engine::ENGINE_ISA
