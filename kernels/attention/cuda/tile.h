// Tiles of bf16 in shared memory and their products on tensor cores, for attention. Each of four warps owns 16
// row_tiles rows of a result and goes over all rows of the other tile.
//
// In a fragment of 16 x 8 sums, lane 4 g + t holds the columns 2 t and 2 t + 1 of rows g and g + 8: element e is in row
// g + 8 (e / 2), column 2 t + e % 2. Two neighbouring fragments of sums, rounded and packed, are a left operand in
// place, so that weights go from one product to the next without leaving registers.
#pragma once

#include "kernels/attention/cuda/arguments.h"
#include "kernels/attention/cuda/layout.h"

namespace engine::cuda {

inline constexpr int tile_warps = 4, tile_threads = tile_warps * warp_size;

using Piece = Vector16<bfloat16>;

// Rows have D columns. Columns behind a head's width are zeros.
template <int D>
struct Tile {
  static constexpr int pieces = D / 8;
  // Neighbouring threads copy this many pieces of a row, and the same in rows further down. Steps of 8 rows, and of so
  // many pieces, do not change the permutation.
  static constexpr int across = pieces % 8 == 0 ? 8 : 4;
  static constexpr size_t bytes(int rows) { return static_cast<size_t>(rows) * D * sizeof(bfloat16); }

  Piece* memory;

  __device__ __forceinline__ Piece* at(int row, int piece) const { return memory + tile_piece(pieces, row, piece); }
  // Returns the rows from `row`, a multiple of 8, on.
  __device__ __forceinline__ Tile from_row(int row) const { return {memory + row * pieces}; }
  // Returns the address that this lane gives for 16 rows from `row`, a multiple of 8.
  __device__ __forceinline__ Piece* at(int row, PieceOfLane lane) const {
    return from_row(row).at(lane.row, lane.piece);
  }

  // Begins to copy `rows` rows of a matrix from `first`. Rows from `count` on are zeros. Where rows do not begin on 16
  // bytes (`vectors` is false) it copies by elements. The rows can be read after copy_async_wait and a barrier.
  template <int rows>
  __device__ __forceinline__ void load(const DeviceMatrix& matrix, int64_t first, int64_t first_column, int count,
                                       int width, bool vectors) const {
    constexpr int rows_at_once = tile_threads / across;
    static_assert(rows % rows_at_once == 0);
    const bfloat16* const from = element_at<const bfloat16>(matrix, first, first_column);
    const int stride = matrix.stride;
    if (!vectors) {
      for (int i = static_cast<int>(threadIdx.x); i < rows * D; i += tile_threads) {
        const int row = i / D, column = i % D;
        at(row, column / 8)->at[column % 8] =
            row < count && column < width ? from[row * stride + column] : from_float<bfloat16>(0.0f);
      }
      return;
    }
    const int own_row = static_cast<int>(threadIdx.x / unsigned{across}),
              own_piece = static_cast<int>(threadIdx.x % unsigned{across});
    Piece* const to = at(own_row, own_piece);
    const int from_here = own_row * stride + own_piece * 8;
    ENGINE_UNROLL
    for (int row = 0; row < rows; row += rows_at_once)
      ENGINE_UNROLL
      for (int piece = 0; piece < pieces; piece += across) {
        const bool valid = own_row + row < count && (own_piece + piece) * 8 < width;
        copy_async_16(to + row * pieces + piece, valid ? from + from_here + row * stride + piece * 8 : from, valid);
      }
  }

  // Writes `count` rows of this warp's sums, rounded, to a matrix from row `first`. The tile is the warp's scratch.
  template <int row_tiles>
  __device__ __forceinline__ void store(const float (&sums)[row_tiles][D / 8][4],
                                        const float (&factor)[row_tiles][2], const DeviceMatrix& matrix, int64_t first,
                                        int64_t first_column, int count, int width, bool vectors) const {
    bfloat16* const to = element_at<bfloat16>(matrix, first, first_column);
    const int stride = matrix.stride;
    const int g = lane_index() / 4, t = lane_index() % 4;
    ENGINE_UNROLL
    for (int r = 0; r < row_tiles; ++r)
      ENGINE_UNROLL
      for (int half = 0; half < 2; ++half)
        ENGINE_UNROLL
        for (int n = 0; n < pieces; ++n)
          reinterpret_cast<uint32_t*>(from_row(16 * r + 8 * half).at(g, n))[t] =
              pack_bf16(sums[r][n][2 * half] * factor[r][half], sums[r][n][2 * half + 1] * factor[r][half]);
    sync_warp();
    const int rows = smaller(count, 16 * row_tiles);
    if (vectors) {
      for (int i = lane_index(); i < rows * pieces; i += warp_size)
        if (const int row = i / pieces, piece = i % pieces; piece * 8 < width)
          store_vector(to + row * stride + piece * 8, *at(row, piece));
    } else {
      for (int i = lane_index(); i < rows * D; i += warp_size)
        if (const int row = i / D, column = i % D; column < width)
          to[row * stride + column] = at(row, column / 8)->at[column % 8];
    }
  }
};

// Begins to copy the same rows of two matrices to two tiles.
template <int rows, int D>
__device__ __forceinline__ void load_two(const Tile<D>& first, const DeviceMatrix& from_first, const Tile<D>& second,
                                         const DeviceMatrix& from_second, int64_t row, int64_t column, int count,
                                         int width, bool vectors) {
  first.template load<rows>(from_first, row, column, count, width, vectors);
  second.template load<rows>(from_second, row, column, count, width, vectors);
}

// Left operands: ReadRows reads them from shared memory at every use, and HeldRows keeps them in registers.
template <int D, int row_tiles>
struct ReadRows {
  Tile<D> tile;
  __device__ __forceinline__ explicit ReadRows(Tile<D> of) : tile(of) {}
  __device__ __forceinline__ void get(uint32_t (&fragment)[4], int r, int k) const {
    load_matrix_x4(fragment, tile.at(16 * r, down_then_right(lane_index(), k)));
  }
};
template <int D, int row_tiles>
struct HeldRows {
  uint32_t held[row_tiles][D / 16][4];
  __device__ __forceinline__ explicit HeldRows(Tile<D> of) {
    const ReadRows<D, row_tiles> rows(of);
    ENGINE_UNROLL
    for (int r = 0; r < row_tiles; ++r)
      ENGINE_UNROLL
      for (int k = 0; k < D / 16; ++k) rows.get(held[r][k], r, k);
  }
  __device__ __forceinline__ void get(uint32_t (&fragment)[4], int r, int k) const {
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i) fragment[i] = held[r][k][i];
  }
};

// Computes sums = rows right^T, for this warp's rows and the first 8 `columns` rows of another tile.
template <int D, int row_tiles, int columns, class Rows>
__device__ __forceinline__ void multiply_rows(const Rows& rows, const Tile<D>& right,
                                              float (&sums)[row_tiles][columns][4]) {
  ENGINE_UNROLL
  for (int r = 0; r < row_tiles; ++r)
    ENGINE_UNROLL
    for (int n = 0; n < columns; ++n)
      ENGINE_UNROLL
      for (int e = 0; e < 4; ++e) sums[r][n][e] = 0;
  ENGINE_UNROLL
  for (int k = 0; k < D / 16; ++k) {
    uint32_t left[row_tiles][4];
    ENGINE_UNROLL
    for (int r = 0; r < row_tiles; ++r) rows.get(left[r], r, k);
    ENGINE_UNROLL
    for (int n = 0; n < columns; n += 2) {
      uint32_t pair[4];
      load_matrix_x4(pair, right.at(8 * n, right_then_down(lane_index(), k)));
      ENGINE_UNROLL
      for (int r = 0; r < row_tiles; ++r) {
        multiply_add_16x8x16(sums[r][n], left[r], pair[0], pair[1]);
        multiply_add_16x8x16(sums[r][n + 1], left[r], pair[2], pair[3]);
      }
    }
  }
}

// Adds weights right to sums, for the first 8 `columns` rows of `right`. It rounds the weights, fragments of sums, to
// bf16.
template <int D, int row_tiles, int columns>
__device__ __forceinline__ void multiply_weights(const float (&weights)[row_tiles][columns][4], const Tile<D>& right,
                                                 float (&sums)[row_tiles][D / 8][4]) {
  ENGINE_UNROLL
  for (int k = 0; k < columns / 2; ++k) {
    uint32_t left[row_tiles][4];
    ENGINE_UNROLL
    for (int r = 0; r < row_tiles; ++r)
      ENGINE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = weights[r][2 * k + i / 2];
        left[r][i] = pack_bf16(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
    ENGINE_UNROLL
    for (int n = 0; n < D / 8; n += 2) {
      uint32_t pair[4];
      load_matrix_x4_transposed(pair, right.at(16 * k, down_then_right(lane_index(), n / 2)));
      ENGINE_UNROLL
      for (int r = 0; r < row_tiles; ++r) {
        multiply_add_16x8x16(sums[r][n], left[r], pair[0], pair[1]);
        multiply_add_16x8x16(sums[r][n + 1], left[r], pair[2], pair[3]);
      }
    }
  }
}

// Reduce over the four lanes that hold one row.
__device__ __forceinline__ float row_sum(float value) {
  value += shuffle_xor(value, 1);
  return value + shuffle_xor(value, 2);
}
__device__ __forceinline__ float row_max(float value) {
  value = fmaxf(value, shuffle_xor(value, 1));
  return fmaxf(value, shuffle_xor(value, 2));
}

}  // namespace engine::cuda
