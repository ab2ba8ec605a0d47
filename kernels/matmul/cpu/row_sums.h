// Sums of an operand's rows. They are the gradient of a bias where the operand is dy transposed.
#pragma once

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/matmul/cpu/pack.h"

namespace engine::ENGINE_ISA {

inline constexpr int64_t row_sums_at_once = 8 * lanes;  // reads memory in runs where k is not contiguous

// Adds to sums[i] the sum of k = begin ... end-1 of row i, for the rows first ... last-1.
template <class T>
void add_row_sums(const Operand& a, int64_t first, int64_t last, int64_t begin, int64_t end, float* sums) {
  const T* data = static_cast<const T*>(a.data);
  if (a.k_contiguous) {
    for (int64_t i = first; i < last; ++i) {
      vfloat total{};
      for (int64_t k = begin; k < end; k += lanes) total += load_count(data + i * a.stride + k, end - k);
      sums[i] += sum(total);
    }
    return;
  }
  constexpr int vectors = row_sums_at_once / lanes;
  for (int64_t i = first; i < last; i += row_sums_at_once) {
    const int64_t rows = std::min(row_sums_at_once, last - i);
    vfloat totals[vectors] = {};
    const auto add = [&](int64_t k, auto whole) __attribute__((always_inline)) {
      for (int v = 0; v < vectors && (whole || v * lanes < rows); ++v) {
        const T* const at = data + k * a.stride + i + v * lanes;
        totals[v] += whole ? load(at) : load_count(at, rows - v * lanes);
      }
    };
    with_flag(rows == row_sums_at_once, [&](auto whole) {
      for (int64_t k = begin; k < end; ++k) add(k, whole);
    });
    alignas(64) float parts[row_sums_at_once];
    for (int v = 0; v < vectors; ++v) store(parts + v * lanes, totals[v]);
    for (int64_t r = 0; r < rows; ++r) sums[i + r] += parts[r];
  }
}
inline void add_row_sums(const Operand& a, int64_t first, int64_t last, int64_t begin, int64_t end, float* sums) {
  if (a.is_bf16) add_row_sums<bf16>(a, first, last, begin, end, sums);
  else add_row_sums<float>(a, first, last, begin, end, sums);
}

// Adds up all rows, in a pass of its own.
inline void add_row_sums(const Operand& a, float* sums) {
  parallel_chunks(a.outer, row_sums_at_once,
                  [&](int64_t first, int64_t last) { add_row_sums(a, first, last, 0, a.k, sums); });
}

}  // namespace engine::ENGINE_ISA
