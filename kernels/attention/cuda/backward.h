// The two backward kernels of attention on tensor cores share the sizes of their tiles, their places in shared memory,
// and the numbers of a query.
#pragma once

#include "kernels/attention/cuda/tile.h"

namespace engine::cuda {

// A block owns `rows` rows of two matrices, and goes over two others by tiles of `columns` rows. The sizes leave the
// sums in registers: dq needs one sum, dk and dv need two.
template <int D, int row_tiles_, int columns_>
struct BackwardShape {
  static constexpr int width = D, row_tiles = row_tiles_, warp_rows = 16 * row_tiles, rows = warp_rows * tile_warps;
  static constexpr int columns = columns_, fragments = columns / 8;
  static constexpr size_t rows_bytes = Tile<D>::bytes(rows), columns_bytes = Tile<D>::bytes(columns);
  static constexpr size_t stages_begin = 2 * rows_bytes, numbers_begin = stages_begin + 4 * columns_bytes;
  static constexpr size_t shared_bytes = numbers_begin + 4 * columns * sizeof(float);
};
template <int D>
using ShapeOfDq = BackwardShape<D, D <= 64 ? 2 : 1, 32>;
template <int D>
using ShapeOfDkDv = BackwardShape<D, 1, D <= 96 ? 32 : 16>;

// Holds a warp's scores: fragments of 8 columns for each 16 of its rows.
template <class Shape>
using Fragments = float[Shape::row_tiles][Shape::fragments][4];

// Holds a block's tiles: two that it owns, and two stages of two that it goes over. One stage is copied while the other
// is used.
template <class Shape>
struct BlockTiles {
  using OfWidth = Tile<Shape::width>;
  unsigned char* shared;

  __device__ __forceinline__ OfWidth tile(size_t begin) const { return {reinterpret_cast<Piece*>(shared + begin)}; }
  __device__ __forceinline__ OfWidth own(int i) const { return tile(i * Shape::rows_bytes); }
  __device__ __forceinline__ OfWidth of_warp(int i) const { return own(i).from_row(warp_index() * Shape::warp_rows); }
  __device__ __forceinline__ OfWidth column(int i, int stage) const {
    return tile(Shape::stages_begin + (2 * stage + i) * Shape::columns_bytes);
  }
  // Returns the columns' lse (0) or delta (1), where columns are queries.
  __device__ __forceinline__ float* numbers(int i, int stage) const {
    return reinterpret_cast<float*>(shared + Shape::numbers_begin) + (2 * stage + i) * Shape::columns;
  }
};

// Returns a row's log-sum-exp in units of log 2. A query that saw no key gives infinity, so that its weights are 0.
__device__ __forceinline__ float lse_of(const AttentionBackward& a, int64_t row, int head) {
  const float lse = a.lse[row * a.heads + head];
  return lse == -INFINITY ? INFINITY : lse * log2_e;
}

// Returns the sum of dy y over a row's columns. The four lanes of a fragment that hold the row share the work.
__device__ __forceinline__ float delta_of(const AttentionBackward& a, int64_t row, int64_t column, bool valid,
                                          bool vectors) {
  const bfloat16 *dy = element_at<bfloat16>(a.dy, row, column), *y = element_at<bfloat16>(a.y, row, column);
  const int width = valid ? a.width : 0, t = lane_index() % 4;
  float sum = 0;
  if (vectors)
    for (int c = 8 * t; c < width; c += 32) {
      const Piece left = load_vector(dy + c), right = load_vector(y + c);
      ENGINE_UNROLL
      for (int i = 0; i < 8; ++i) sum += to_float(left.at[i]) * to_float(right.at[i]);
    }
  else
    for (int c = t; c < width; c += 4) sum += to_float(dy[c]) * to_float(y[c]);
  return row_sum(sum);
}

}  // namespace engine::cuda
