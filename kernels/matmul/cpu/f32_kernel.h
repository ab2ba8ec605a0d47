// The f32 kernel: a tile of c in registers, one vector of b times one number of a at a time.
#pragma once

#include <array>
#include <utility>

#include "kernels/matmul/cpu/pack.h"

namespace engine::ENGINE_ISA {

// What the products after this one, or its own epilogue, will read or write: pairs of cache lines in some rows. The
// kernel fetches them one after the other as it goes on: all at once they would keep its own loads waiting.
class LinesAhead {
 public:
  void add(const void* first, int64_t row_bytes, int rows) {
    if (parts_ < most_parts) part_[parts_++] = {static_cast<const char*>(first), row_bytes, rows};
  }
  ENGINE_INLINE void fetch() {
    if (!left_) {
      if (next_ == parts_) return;
      at_ = part_[next_].first;
      stride_ = part_[next_].row_bytes;
      left_ = part_[next_++].rows;
    }
    __builtin_prefetch(at_);
    __builtin_prefetch(at_ + 64);
    at_ += stride_;
    --left_;
  }

 private:
  struct Part {
    const char* first;
    int64_t row_bytes;
    int rows;
  };
  static constexpr int most_parts = 8;
  std::array<Part, most_parts> part_;
  const char* at_ = nullptr;
  int64_t stride_ = 0;
  int left_ = 0, parts_ = 0, next_ = 0;
};

struct KernelF32 {
#if defined(__AVX512F__)
  static constexpr int rows = 14;  // 28 sums, 2 of b and 1 of a: 31 of 32 registers
#elif defined(__AVX2__)
  static constexpr int rows = 6;
#else
  static constexpr int rows = 4;
#endif
  static constexpr int cols = 2 * lanes;
  static constexpr int tile_elements = rows * cols;

  // A few rows of op(a): element (i, k) at at[i * stride + k], or, where the stride is 0, packed, at at[k * rows + i].
  struct Left {
    const float* at;
    int64_t stride;
  };

  // tile[count, cols] = or += a [count, k] b [k, cols], with b packed.
  static void multiply(Left a, const float* b, int64_t k, int count, bool add, float* tile, LinesAhead& lines) {
    if (a.stride) multiply_count<true>(a, b, k, count, add, tile, lines);
    else multiply_count<false>(a, b, k, count, add, tile, lines);
  }

 private:
  template <bool in_rows>
  static void multiply_count(Left a, const float* b, int64_t k, int count, bool add, float* tile,
                             LinesAhead& lines) {
    if (count == rows) [[likely]]
      return multiply_rows<rows, in_rows>(a, b, k, add, tile, lines);
    [&]<int... smaller>(std::integer_sequence<int, smaller...>) {
      (void)((count == smaller + 1 && (multiply_rows<smaller + 1, in_rows>(a, b, k, add, tile, lines), true)) ||
             ...);
    }
    (std::make_integer_sequence<int, rows - 1>{});
  }

  template <int count, bool in_rows>
  [[gnu::noinline]] static void multiply_rows(Left a, const float* b, int64_t k, bool add, float* tile,
                                              LinesAhead& lines) {
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
      __builtin_prefetch(line + ahead * cols);
      __builtin_prefetch(line + ahead * cols + lanes);
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
      lines.fetch();
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
