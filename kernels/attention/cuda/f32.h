// Tiles of f32 in shared memory and their products, for attention without tensor cores: a block owns 32 rows of a head
// and goes over tiles of 32 others. Thread (ty, tx) of 8 x 16 has of a product of rows the rows 4 ty + i and the
// columns tx + 16 j, and of a sum over D the columns 2 tx + 32 j and the next.
#pragma once

#include "kernels/attention/cuda/arguments.h"

namespace engine::cuda::f32_tiles {

inline constexpr int tile = 32, threads = 128, weights_stride = tile + 4;

// Rows of D floats; 4 more of stride, an odd number of 16 bytes, spread the rows over the banks.
template <int D>
struct Tiles {
  static constexpr int stride = D + 4, floats = tile * stride;
  static constexpr size_t shared_bytes = (4 * floats + 2 * tile * weights_stride) * sizeof(float);
  float* shared;

  __device__ __forceinline__ float* matrix(int i) const { return shared + i * floats; }
  __device__ __forceinline__ float* weights(int i) const { return matrix(4) + i * tile * weights_stride; }

  // Rows from `count` on and columns behind the head's width are zeros.
  __device__ __forceinline__ void load(int i, const DeviceColumns& from, int64_t row, int64_t column, int count,
                                       int width) const {
    for (int at = static_cast<int>(threadIdx.x); at < tile * D; at += threads) {
      const int r = at / D, c = at % D;
      matrix(i)[r * stride + c] = r < count && c < width ? from.load(row + r, column + c) : 0.0f;
    }
  }
};

__device__ __forceinline__ int thread_row() { return static_cast<int>(threadIdx.x) / 16 * 4; }
__device__ __forceinline__ int thread_column() { return static_cast<int>(threadIdx.x) % 16; }

// Over the 16 threads of a row.
__device__ __forceinline__ float across_row(float value) {
  for (int distance = 8; distance > 0; distance /= 2) value += shuffle_xor(value, distance);
  return value;
}
__device__ __forceinline__ float highest_of_row(float value) {
  for (int distance = 8; distance > 0; distance /= 2) value = fmaxf(value, shuffle_xor(value, distance));
  return value;
}

// sums = rows columns^T.
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

// sums += weights right, the weights being of all 32 rows of `right`, in shared memory, where this puts them.
template <int D>
__device__ __forceinline__ void multiply_weights(const float (&weights)[4][2], float* in_shared, const float* right,
                                                 float (&sums)[4][D / 16]) {
  ENGINE_UNROLL
  for (int i = 0; i < 8; ++i)
    in_shared[(thread_row() + i / 2) * weights_stride + thread_column() + 16 * (i % 2)] = weights[i / 2][i % 2];
  sync_warp();  // a row's weights come from its own warp
  for (int k = 0; k < tile; ++k)
    ENGINE_UNROLL
    for (int j = 0; j < D / 16; ++j) {
      const float element = right[k * Tiles<D>::stride + 2 * thread_column() + j / 2 * 32 + j % 2];
      ENGINE_UNROLL
      for (int i = 0; i < 4; ++i) sums[i][j] += in_shared[(thread_row() + i) * weights_stride + k] * element;
    }
}

// Writes the rows that are there of this thread's sums.
template <int D>
__device__ __forceinline__ void store(const DeviceColumns& to, int64_t row, int64_t column, int count, int width,
                                      const float (&sums)[4][D / 16], const float (&factor)[4]) {
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i)
    ENGINE_UNROLL
    for (int j = 0; j < D / 16; ++j) {
      const int c = 2 * thread_column() + j / 2 * 32 + j % 2;
      if (thread_row() + i < count && c < width)
        to.store(row + thread_row() + i, column + c, sums[i][j] * factor[i]);
    }
}

// The sum of dy y over a row's columns, by the 16 threads of the row.
__device__ __forceinline__ float delta_of_row(const AttentionBackward& a, int64_t row, int64_t column, bool valid) {
  float sum = 0;
  for (int c = thread_column(); valid && c < a.width; c += 16)
    sum += a.dy.load(row, column + c) * a.y.load(row, column + c);
  return across_row(sum);
}

__device__ __forceinline__ float dropout_factor(const AttentionCommon& a, int64_t query_row, int head, int key) {
  return a.drops ? a.dropout.factor(query_row, a.heads, head, key) : 1.0f;
}

}  // namespace engine::cuda::f32_tiles
