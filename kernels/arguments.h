// The types that the arguments of several operations share. Each family declares its arguments in its own header.
//
// Every arguments struct lists its tensors in each_tensor, and one that multiplies matrices tells its flops(): backends
// that watch others (observe/) need to know no operation.
#pragma once

#include <algorithm>

#include "core/random.h"
#include "core/tensor.h"

namespace engine {

// input: the operation reads it. output: it writes all of it. both: it reads and writes it, or writes a part of it.
//
// each_tensor(each) calls each(name, tensor, role, share = 1) for every tensor, the absent ones too, and for the whole
// matrix where the argument is some of its columns. `share` is the part of the tensor that is read, or written, or
// (both) read and written.
enum class Role { input, output, both };

// Some columns of a matrix, so that the parts of one fused q|k|v projection are used where they lie.
struct Columns {
  Tensor matrix;
  int64_t begin = 0;
  int64_t width = 0;

  Columns() = default;
  Columns(const Tensor& all) : matrix(all), width(all.cols()) {}  // NOLINT: a tensor is all of its columns
  Columns(const Tensor& of, int64_t first, int64_t count) : matrix(of), begin(first), width(count) {}

  // The part of the matrix that these columns are.
  double share() const {
    return matrix.cols() ? static_cast<double>(width) / static_cast<double>(matrix.cols()) : 1;
  }
};

// The places of the S sequences in a flat row of tokens: sequence s has the rows begin[s] ... end[s]-1. A packed batch
// has one array of cumulative offsets, i32 [S+1]. A cache has slots with room to grow, so begin and end are two arrays.
struct Segments {
  Tensor begin, end;    // i32 [S]
  int64_t longest = 0;  // the most rows in one sequence

  int64_t count() const { return begin.count(); }
  static Segments packed(const Tensor& offsets, int64_t longest) {
    Segments segments{offsets, offsets, longest};
    segments.begin.shape = segments.end.shape = {offsets.count() - 1};
    segments.end.data = offsets.as<int32_t>() + 1;
    return segments;
  }
  template <class Each>
  void each_tensor(const char* begin_name, const char* end_name, const Each& each) {
    each(begin_name, begin, Role::input);
    each(end_name, end, Role::input);
  }
};

// A tensor of touched blocks, u8 [TouchedBlocks::count(elements)], tells which blocks of a parameter's elements may
// have a gradient or moments other than 0: a batch names few rows of a large table. An operation that adds to a
// gradient sets `written`, and adamw sets that to `moments`.
struct TouchedBlocks {
  static constexpr int64_t block = 128;  // elements
  static constexpr uint8_t moments = 1, gradient = 2, written = moments | gradient;

  static constexpr int64_t count(int64_t elements) { return (elements + block - 1) / block; }
};

// Returns the part of a table's rows that these indices can name at the most.
inline double named_share(const Tensor& indices, const Tensor& table) {
  const double rows = static_cast<double>(table.rows());
  return rows > 0 ? std::min(1.0, static_cast<double>(indices.count()) / rows) : 1;
}

enum class Activation { none, relu, gelu, gelu_tanh, tanh, silu, mish, quick_gelu };

}  // namespace engine
