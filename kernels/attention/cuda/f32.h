// Tiles of f32 in shared memory and their products, for attention without tensor cores. A block owns 32 rows of a head
// and goes over tiles of 32 others. Thread (ty, tx) of 8 x 16 holds the rows 4 ty + i and the columns tx + 16 j of a
// product of rows, and the columns 2 tx + 32 j and the next of a sum over D.
#pragma once

#include "kernels/attention/cuda/arguments.h"

namespace engine::cuda::f32_tiles {

inline constexpr int tile = 32, threads = 128, weights_stride = tile + 4;

// Rows hold D floats. A stride of 4 more, an odd number of 16 bytes, spreads the rows over the banks.
template <int D>
struct Tiles {
  static constexpr int stride = D + 4, floats = tile * stride;
  static constexpr size_t shared_bytes = (4 * floats + 2 * tile * weights_stride) * sizeof(float);
  float* shared;

  __device__ __forceinline__ float* matrix(int i) const { return shared + i * floats; }
  __device__ __forceinline__ float* weights(int i) const { return matrix(4) + i * tile * weights_stride; }

  // Fills rows from `count` on and columns behind the head's width with zeros.
  __device__ __forceinline__ void load(int i, const DeviceMatrix& from, int64_t row, int64_t column, int count,
                                       int width) const {
    for (int at = static_cast<int>(threadIdx.x); at < tile * D; at += threads) {
      const int r = at / D, c = at % D;
      matrix(i)[r * stride + c] = r < count && c < width ? load_element(from, row + r, column + c) : 0.0f;
    }
  }
};

// Copies rows of a matrix to tile i, between two barriers.
template <int D>
__device__ __forceinline__ void load_one(const Tiles<D>& tiles_of, int i, const DeviceMatrix& from, int64_t row,
                                         int64_t column, int count, int width) {
  sync_block();
  tiles_of.load(i, from, row, column, count, width);
  sync_block();
}
// Copies the same rows of two matrices to tiles i and i + 1, between two barriers.
template <int D>
__device__ __forceinline__ void load_two(const Tiles<D>& tiles_of, int i, const DeviceMatrix& first,
                                         const DeviceMatrix& second, int64_t row, int64_t column, int count,
                                         int width) {
  sync_block();
  tiles_of.load(i, first, row, column, count, width);
  tiles_of.load(i + 1, second, row, column, count, width);
  sync_block();
}

// Holds the rows of the tile that a block owns, among a sequence's queries or keys.
struct OwnRows {
  BlockSpan span;
  int head, first, count;  // first row in the sequence, number of rows
  int64_t row, column;     // first row and column in the matrices

  // Returns false where the block has no rows or the sequence is wrong.
  __device__ __forceinline__ bool find(const AttentionCommon& a, int tiles, bool of_keys) {
    const BlockPlace place(a, tiles);
    if (!read_span(a, place.sequence, span)) return false;
    head = place.head;
    first = place.tile * tile;
    count = smaller(tile, (of_keys ? span.keys : span.queries) - first);
    row = (of_keys ? span.key_begin : span.query_begin) + first;
    column = int64_t{head} * a.width;
    return count > 0;
  }
};

__device__ __forceinline__ int thread_row() { return static_cast<int>(threadIdx.x) / 16 * 4; }
__device__ __forceinline__ int thread_column() { return static_cast<int>(threadIdx.x) % 16; }

// Reduces over the 16 threads of a row.
template <class Combine>
__device__ __forceinline__ float across_row(float value, const Combine& combine) {
  for (int distance = 8; distance > 0; distance /= 2) value = combine(value, shuffle_xor(value, distance));
  return value;
}

// Computes sums = rows columns^T.
template <int D>
__device__ __forceinline__ void multiply_rows(const float* rows, const float* columns, float (&sums)[4][2]) {
  ENGINE_UNROLL
  for (int i = 0; i < 8; ++i) sums[i / 2][i % 2] = 0;
  for (int d = 0; d < D; d += 4) {
    Vector16<float> right[2];
    ENGINE_UNROLL
    for (int j = 0; j < 2; ++j) right[j] = load_vector(columns + (thread_column() + 16 * j) * Tiles<D>::stride + d);
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Vector16<float> left = load_vector(rows + (thread_row() + i) * Tiles<D>::stride + d);
      ENGINE_UNROLL
      for (int j = 0; j < 2; ++j)
        ENGINE_UNROLL
        for (int c = 0; c < 4; ++c) sums[i][j] += left.at[c] * right[j].at[c];
    }
  }
}

// Adds weights right to sums, for all 32 rows of `right`. It passes the weights through shared memory.
template <int D>
__device__ __forceinline__ void multiply_weights(const float (&weights)[4][2], float* in_shared, const float* right,
                                                 float (&sums)[4][D / 16]) {
  ENGINE_UNROLL
  for (int i = 0; i < 8; ++i)
    in_shared[(thread_row() + i / 2) * weights_stride + thread_column() + 16 * (i % 2)] = weights[i / 2][i % 2];
  sync_warp();  // threads of one warp hold a row's weights
  for (int k = 0; k < tile; ++k)
    ENGINE_UNROLL
    for (int j = 0; j < D / 16; ++j) {
      const float element = right[k * Tiles<D>::stride + 2 * thread_column() + j / 2 * 32 + j % 2];
      ENGINE_UNROLL
      for (int i = 0; i < 4; ++i) sums[i][j] += in_shared[(thread_row() + i) * weights_stride + k] * element;
    }
}

// Writes this thread's sums of the `count` rows that exist.
template <int D>
__device__ __forceinline__ void store(const DeviceMatrix& to, int64_t row, int64_t column, int count, int width,
                                      const float (&sums)[4][D / 16], const float (&factor)[4]) {
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i)
    ENGINE_UNROLL
    for (int j = 0; j < D / 16; ++j) {
      const int c = 2 * thread_column() + j / 2 * 32 + j % 2;
      if (thread_row() + i < count && c < width)
        store_element(to, row + thread_row() + i, column + c, sums[i][j] * factor[i]);
    }
}

// Returns the sum of dy y over a row's columns. The 16 threads of the row share the work.
__device__ __forceinline__ float delta_of_row(const AttentionBackward& a, int64_t row, int64_t column, bool valid) {
  float sum = 0;
  for (int c = thread_column(); valid && c < a.width; c += 16)
    sum += load_element(a.dy, row, column + c) * load_element(a.y, row, column + c);
  return across_row(sum, Add());
}

__device__ __forceinline__ float dropout_factor(const AttentionCommon& a, int64_t query_row, int head, int key) {
  return a.drops ? a.dropout.factor(query_row, a.heads, head, key) : 1.0f;
}

}  // namespace engine::cuda::f32_tiles
