// A product of few rows and columns whose sums are long: the gradient of a weight, dy transposed times x, is summed
// over all tokens. K is divided into ranges. A task sums one range for a part of c. It packs its operands a little at a
// time just before it multiplies them, so that they are read from memory once and then come from the cache. The ranges'
// sums are added in their order. The shape alone decides ranges and parts, so the bits are the same at any number of
// threads.
#pragma once

#include "core/arena.h"
#include "core/parallel.h"
#include "kernels/matmul/cpu/bf16_kernel.h"
#include "kernels/matmul/cpu/product.h"
#include "kernels/matmul/cpu/row_sums.h"

namespace engine::ENGINE_ISA {

class LongProduct : ProductOf<KernelBf16> {
 public:
  // Tells whether this way was measured to be the faster one.
  static bool serves(const Operand& a, const Operand& b, bool b_is_packed) {
    return !b_is_packed && !a.k_contiguous && a.k >= 12 * k_step && a.outer * b.outer <= 768 * 768;
  }

  LongProduct(const MatmulArgs& args, Arena& workspace)
      : ProductOf(args),
        row_panels_(ceil_div(a_.outer, KernelBf16::rows)),
        col_panels_(ceil_div(b_.outer, KernelBf16::cols)) {
    while (ceil_div(row_panels_, row_parts_) * ceil_div(col_panels_, col_parts_) > most_tiles)
      (row_panels_ / row_parts_ >= col_panels_ / col_parts_ ? row_parts_ : col_parts_) *= 2;
    ranges_ = std::clamp<int64_t>(tasks_wanted / (row_parts_ * col_parts_), 1, a_.k / k_step);
    range_k_ = rounded_up(ceil_div(a_.k, ranges_), 32);
    tiles_ = workspace.make(DType::f32, {ranges_, row_panels_ * col_panels_, tile_elements}).as<float>();
    a_stride_ = KernelBf16::a_panel_elements(k_step);
    b_stride_ = KernelBf16::b_panel_elements(k_step);
    a_part_elements_ = ceil_div(row_panels_, row_parts_) * a_stride_;
    b_part_elements_ = ceil_div(col_panels_, col_parts_) * b_stride_;
    packed_ = workspace.make(DType::bf16, {thread_count(), a_part_elements_ + b_part_elements_}).as<bf16>();
    if (row_sums_) partial_sums_ = workspace.make_zeros(DType::f32, {ranges_, a_.outer}).as<float>();
  }

  void run() {
    const int64_t parts = row_parts_ * col_parts_;
    parallel_for(ranges_ * parts,
                 [&](int64_t i) { sum_range(i / parts, i % parts % row_parts_, i % parts / row_parts_); });
    parallel_for(row_panels_, [&](int64_t row) {
      for (int64_t col = 0; col < col_panels_; ++col) finish(row, col);
    });
    if (row_sums_) add_row_sums_of(partial_sums_, ranges_);
  }

 private:
  static constexpr int64_t k_step = 256, tasks_wanted = 8;
  static constexpr int64_t most_tiles = 128;  // 512 KiB of sums a part, beside 384 KiB of packed operands
  static constexpr int64_t tile_elements = int64_t{KernelBf16::rows} * KernelBf16::cols;

  float* tile(int64_t range, int64_t row, int64_t col) const {
    return tiles_ + ((range * row_panels_ + row) * col_panels_ + col) * tile_elements;
  }

  void sum_range(int64_t range, int64_t row_part, int64_t col_part) const {
    const int64_t row_begin = row_panels_ * row_part / row_parts_, row_end = row_panels_ * (row_part + 1) / row_parts_;
    const int64_t col_begin = col_panels_ * col_part / col_parts_, col_end = col_panels_ * (col_part + 1) / col_parts_;
    const int64_t begin = std::min(range * range_k_, a_.k), end = std::min(begin + range_k_, a_.k);
    bf16* const packed_a = packed_ + thread_index() * (a_part_elements_ + b_part_elements_);
    bf16* const packed_b = packed_a + a_part_elements_;
    const TileRegisters registers;
    for (int64_t k = begin; k == begin || k < end; k += k_step) {
      const int64_t stop = std::min(k + k_step, end);
      for (int64_t j = k; j < stop; j += 32) {  // rows of memory in long runs
        const int64_t last = std::min(j + 32, stop);
        for (int64_t row = row_begin; row < row_end; ++row)
          KernelBf16::pack_a(a_, row, j, last, packed_a + (row - row_begin) * a_stride_ + (j - k) * KernelBf16::rows);
        for (int64_t col = col_begin; col < col_end; ++col)
          KernelBf16::pack_b(b_, col, j, last, packed_b + (col - col_begin) * b_stride_ + (j - k) * KernelBf16::cols);
        if (row_sums_ && col_part == 0)
          add_row_sums(a_, row_begin * KernelBf16::rows, std::min(row_end * KernelBf16::rows, a_.outer), j, last,
                       partial_sums_ + range * a_.outer);
      }
      const int64_t calls = (row_end - row_begin) * (col_end - col_begin) * ceil_div(stop - k, 32);
      const int64_t next = std::min(stop + k_step, end);
      auto next_a =
          operand_ahead(a_, row_begin * KernelBf16::rows, (row_end - row_begin) * KernelBf16::rows, stop, next, calls);
      auto next_b =
          operand_ahead(b_, col_begin * KernelBf16::cols, (col_end - col_begin) * KernelBf16::cols, stop, next, calls);
      const auto between = [&](int) __attribute__((always_inline)) {
        next_a.some();
        next_b.some();
      };
      for (int64_t col = col_begin; col < col_end; ++col)
        for (int64_t row = row_begin; row < row_end; ++row)
          KernelBf16::multiply(KernelBf16::packed(packed_a + (row - row_begin) * a_stride_),
                           packed_b + (col - col_begin) * b_stride_, stop - k, rows_of(row), k > begin,
                           tile(range, row, col), between);
    }
  }

  void finish(int64_t row, int64_t col) const {
    epilogue_.prefetch(row * KernelBf16::rows, col * KernelBf16::cols, rows_of(row));
    store_sum(tile(0, row, col), ranges_, row_panels_ * col_panels_ * tile_elements, row, col);
  }

  float* partial_sums_ = nullptr;  // [ranges][outer]
  const int64_t row_panels_, col_panels_;
  int64_t row_parts_ = 1, col_parts_ = 1;  // parts of c
  int64_t ranges_, range_k_;
  int64_t a_stride_, b_stride_, a_part_elements_, b_part_elements_;
  bf16* packed_;  // each thread's panels of a and b, k_step long
  float* tiles_;     // [ranges][row panels][column panels]
};

}  // namespace engine::ENGINE_ISA
