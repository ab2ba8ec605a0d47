// The parts that all ways to take a product share.
#pragma once

#include "kernels/matmul/cpu/epilogue.h"
#include "kernels/matmul/cpu/pack.h"

namespace engine::ENGINE_ISA {

// A product's operands, its epilogue and the size of its tiles, which are those of a Kernel.
template <class Kernel>
class ProductOf {
 protected:
  explicit ProductOf(const MatmulArgs& args)
      : a_(Operand::left(args.a, args.transpose_a)),
        b_(Operand::right(args.b, args.transpose_b)),
        epilogue_(args),
        row_sums_(args.a_row_sums.as<float>()) {}

  // The rows and columns of c in a panel. The last panel may have fewer than the others.
  int rows_of(int64_t panel) const {
    return static_cast<int>(std::min<int64_t>(Kernel::rows, a_.outer - panel * Kernel::rows));
  }
  int cols_of(int64_t panel) const {
    return static_cast<int>(std::min<int64_t>(Kernel::cols, b_.outer - panel * Kernel::cols));
  }
  void store_tile(const float* sums, int64_t row, int64_t col) const {
    epilogue_.store_tile(sums, row * Kernel::rows, col * Kernel::cols, rows_of(row), cols_of(col));
  }
  // Adds the tiles that `count` parts of k summed, in the parts' order, and stores the result. `parts` is the first,
  // and the others lie `stride` elements apart.
  void store_sum(const float* parts, int64_t count, int64_t stride, int64_t row, int64_t col) const {
    alignas(64) float tile[Kernel::rows * Kernel::cols];
    for (int i = 0; i < rows_of(row) * Kernel::cols; i += lanes) {
      vfloat total = load(parts + i);
      for (int64_t part = 1; part < count; ++part) total += load(parts + part * stride + i);
      store(tile + i, total);
    }
    store_tile(tile, row, col);
  }
  // Adds the row sums that `count` parts of k summed, in the parts' order. `parts` is [count][rows of op(a)].
  void add_row_sums_of(const float* parts, int64_t count) const {
    for (int64_t part = 0; part < count; ++part)
      for (int64_t row = 0; row < a_.outer; ++row) row_sums_[row] += parts[part * a_.outer + row];
  }

  const Operand a_, b_;
  const EpilogueOf<Kernel> epilogue_;
  float* const row_sums_;
};

}  // namespace engine::ENGINE_ISA
