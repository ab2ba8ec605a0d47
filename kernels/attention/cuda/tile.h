// Tiles of bf16 in shared memory and their products on tensor cores, for attention: four warps, each of which owns
// 16 row_tiles rows of a result and goes over all rows of the other tile.
//
// In a fragment of 16 x 8 sums, lane 4 g + t holds of rows g and g + 8 the columns 2 t and 2 t + 1: element e is in row
// g + 8 (e / 2), column 2 t + e % 2. Two neighbouring fragments of sums, rounded and packed, are a left operand as they
// lie, so that weights go from one product to the next without leaving registers.
#pragma once

#include "kernels/attention/cuda/arguments.h"
#include "kernels/attention/cuda/layout.h"

namespace engine::cuda {

inline constexpr int tile_warps = 4, tile_threads = tile_warps * warp_size;

// Divided as unsigned numbers, which leaves the compiler shifts and masks.
__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x % 32u); }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x / 32u); }

using Piece = Vector16<bfloat16>;

// Rows of D columns; what is behind a head's width is zeros.
template <int D>
struct Tile {
  static constexpr int pieces = D / 8;
  // Neighbouring threads copy this many pieces of a row, and the same in rows further down: steps of 8 rows, and of so
  // many pieces, do not change the permutation.
  static constexpr int across = pieces % 8 == 0 ? 8 : 4;
  static constexpr size_t bytes(int rows) { return static_cast<size_t>(rows) * D * sizeof(bfloat16); }

  Piece* memory;

  __device__ __forceinline__ Piece* at(int row, int piece) const { return memory + tile_piece(pieces, row, piece); }
  // The rows from `row`, a multiple of 8, on.
  __device__ __forceinline__ Tile from_row(int row) const { return {memory + row * pieces}; }
  // What this lane addresses of 16 rows from `row`, a multiple of 8.
  __device__ __forceinline__ Piece* at(int row, PieceOfLane lane) const {
    return from_row(row).at(lane.row, lane.piece);
  }

  // Begins to read `rows` rows; from row `count` on they are zeros. Where rows are not on 16 bytes (`vectors` is false)
  // they are read by elements, at once. Either way they are there after copy_async_wait and a barrier.
  template <int rows>
  __device__ __forceinline__ void load(const bfloat16* from, int stride, int count, int width, bool vectors) const {
    constexpr int rows_at_once = tile_threads / across;
    static_assert(rows % rows_at_once == 0);
    if (!vectors) {
      for (int i = static_cast<int>(threadIdx.x); i < rows * D; i += tile_threads) {
        const int row = i / D, column = i % D;
        at(row, column / 8)->at[column % 8] =
            row < count && column < width ? from[row * stride + column] : from_float<bfloat16>(0.0f);
      }
      return;
    }
    const int first_row = static_cast<int>(threadIdx.x / unsigned{across}),
              first = static_cast<int>(threadIdx.x % unsigned{across});
    Piece* const to = at(first_row, first);
    const int from_here = first_row * stride + first * 8;
    ENGINE_UNROLL
    for (int row = 0; row < rows; row += rows_at_once)
      ENGINE_UNROLL
      for (int piece = 0; piece < pieces; piece += across) {
        const bool valid = first_row + row < count && (first + piece) * 8 < width;
        copy_async_16(to + row * pieces + piece, valid ? from + from_here + row * stride + piece * 8 : from, valid);
      }
  }

  // Writes `count` rows of this warp's sums, rounded; the tile is the warp's scratch.
  template <int row_tiles>
  __device__ __forceinline__ void store(const float (&sums)[row_tiles][D / 8][4],
                                        const float (&factor)[row_tiles][2], bfloat16* to, int stride, int count,
                                        int width, bool vectors) const {
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

// A left operand that is read from shared memory whenever it is used, and one that is kept in registers.
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

// sums = rows right^T: the products of this warp's rows with the first 8 `columns` rows of another tile.
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

// sums += weights right: the weights, fragments of sums over the first 8 `columns` rows of `right`, rounded to bf16.
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

// The sum, and the maximum, over the four lanes that hold one row.
__device__ __forceinline__ float row_sum(float value) {
  value += shuffle_xor(value, 1);
  return value + shuffle_xor(value, 2);
}
__device__ __forceinline__ float row_max(float value) {
  value = fmaxf(value, shuffle_xor(value, 1));
  return fmaxf(value, shuffle_xor(value, 2));
}

}  // namespace engine::cuda
