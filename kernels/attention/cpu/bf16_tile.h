// The attention kernels for bf16 share operands in the layouts that products of bf16 take (kernels/cpu/amx.h and
// bf16_dots.h). In a product a [m, k] b [k, n], a lies in rows and b in rows of pairs: word (k/2, n) holds b[k][n] and,
// above it, b[k+1][n]. So a matrix whose rows are n and contiguous in k becomes a right operand when its words are
// transposed.
#pragma once

#include "kernels/attention/cpu/tile.h"
#include "kernels/cpu/bf16_instructions.h"

namespace engine::ENGINE_ISA {

static_assert(lanes == 16 && query_block == 32);

// The members of a Kernel (driver.h) that forward and backward share.
struct TileKernel {
  static constexpr int64_t row_padding = 32, width_padding = 32;
  using Registers = TileRegisters;
  // Lines are fetched with each four keys' softmax.
  static int64_t fetches(int64_t keys, int vectors) { return keys * vectors / 4; }
};

// The numbers of keys of a tile that are computed where `seen` are seen: whole fours for a softmax, 16 for the rows and
// columns of a product, 32 for its depth.
struct TileSizes {
  int64_t fours, rows, depth;
  explicit TileSizes(int64_t seen)
      : fours(rounded_up(seen, 4)), rows(rounded_up(seen, 16)), depth(rounded_up(seen, 32)) {}
};

using vbf16_pair = uint16_t __attribute__((vector_size(64)));  // 32 halves, of two vectors or 16 words

// Return two vectors in bf16, one behind the other, and as words with `first` in the lower halves.
ENGINE_INLINE vbf16_pair rounded(vfloat first, vfloat second) {
  return reinterpret_cast<vbf16_pair>(
      _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first)));
}
ENGINE_INLINE vbf16_pair interleaved(vbf16_pair both) {
  vbf16_pair order;
  for (uint16_t i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
  return __builtin_shuffle(both, order);
}
ENGINE_INLINE void store_words(uint32_t* to, vbf16_pair words) { std::memcpy(to, &words, sizeof words); }

// In bf16 padded_width is a multiple of 32.
template <>
inline void read_rows(const Columns& columns, int64_t row, int64_t head, int64_t width, int64_t rows, bf16* to,
                      int64_t padded_rows, int64_t padded_width) {
  with_head(columns, row, head, width, [&](auto* from, int64_t stride) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t d = 0; d < padded_width; d += 32) {
        bf16* at = to + r * padded_width + d;
        const uint32_t present = width - d >= 32 ? ~0u : (1u << std::max<int64_t>(width - d, 0)) - 1;
        if constexpr (sizeof *from == 2) {
          _mm512_storeu_si512(at, _mm512_maskz_loadu_epi16(present, from + r * stride + d));
        } else {
          const float* f = reinterpret_cast<const float*>(from) + r * stride + d;
          const __m512 lower = _mm512_maskz_loadu_ps(static_cast<__mmask16>(present), f);
          const __m512 upper = _mm512_maskz_loadu_ps(static_cast<__mmask16>(present >> 16), f + 16);
          _mm512_storeu_si512(at, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(upper, lower)));
        }
      }
  });
  std::memset(static_cast<void*>(to + rows * padded_width), 0,
              static_cast<size_t>((padded_rows - rows) * padded_width) * sizeof(bf16));
}

// Writes to [width/2][rows] words, word (d/2, r) holding from[r][d] and from[r][d+1]: a right operand of depth d.
// from's rows lie from_stride elements apart, an even number.
[[gnu::noinline]] inline void words_across(const bf16* from, int64_t from_stride, int64_t rows, int64_t width,
                                           uint32_t* to, int64_t to_stride) {
  transpose_matrix(reinterpret_cast<const float*>(from), rows, width / 2, reinterpret_cast<float*>(to), from_stride / 2,
                   to_stride);
}

// Writes to [rows/2][width] words, word (r/2, d) holding from[r][d] and from[r+1][d]: a right operand of depth r.
[[gnu::noinline]] inline void pairs_of_rows(const bf16* from, int64_t from_stride, int64_t rows, int64_t width,
                                            uint32_t* to) {
  for (int64_t r = 0; r < rows; r += 2)
    for (int64_t d = 0; d < width; d += lanes) {
      const vint upper_first = as_int(load(from + r * from_stride + d)),
                 upper_second = as_int(load(from + (r + 1) * from_stride + d));
      const vuint words = reinterpret_cast<vuint>(upper_first) >> 16 | reinterpret_cast<vuint>(upper_second);
      std::memcpy(to + r / 2 * width + d, &words, sizeof words);
    }
}

// Writes rows of keys across, a tile of key_tile keys after the other: to [tile][width][key_tile] = the transposes of
// from's rows, a left operand whose depth are the keys. rows is a multiple of 32. `pairs` is scratch,
// [key_tile/2][width] words.
inline void tiles_across(const bf16* from, int64_t rows, int64_t width, bf16* to, uint32_t* pairs) {
  for (int64_t first = 0; first < rows; first += key_tile) {
    const int64_t count = std::min(key_tile, rows - first);
    pairs_of_rows(from + first * width, width, count, width, pairs);
    transpose_matrix(reinterpret_cast<const float*>(pairs), count / 2, width,
                     reinterpret_cast<float*>(to + first * width), width, key_tile / 2);
  }
}

}  // namespace engine::ENGINE_ISA
