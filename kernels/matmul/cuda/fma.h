// Multiplies f32 tiles by fused multiply-adds: a tile of 64 x 64 sums, 8 x 8 a thread, four k at a time.
#pragma once

#include "kernels/matmul/cuda/tile.h"

namespace engine::cuda {

template <bool a_k_contiguous, bool b_k_contiguous>
class MultiplyAdds {
 public:
  using Element = float;
  static constexpr int rows = 64, cols = 64, k_step = 16, stages = 3;
  static constexpr int threads = 64, blocks_at_once = 4;
  using A = OperandTile<float, rows, k_step, a_k_contiguous>;
  using B = OperandTile<float, cols, k_step, b_k_contiguous>;

  __device__ __forceinline__ MultiplyAdds()
      : row_(static_cast<int>(threadIdx.x) / 8), col_(static_cast<int>(threadIdx.x) % 8) {
    for (auto& row : sums_)
      for (float& sum : row) sum = 0;
  }

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    ENGINE_UNROLL
    for (int k = 0; k < k_step; k += 4) {
      float of_a[4][8], of_b[4][8];
      load<A>(of_a, a, row_, k);
      load<B>(of_b, b, col_, k);
      ENGINE_UNROLL
      for (int step = 0; step < 4; ++step) ENGINE_UNROLL
      for (int i = 0; i < 8; ++i) ENGINE_UNROLL
      for (int j = 0; j < 8; ++j) sums_[i][j] += of_a[step][i] * of_b[step][j];
    }
  }

  __device__ __forceinline__ void put(float* tile) const {
    ENGINE_UNROLL
    for (int i = 0; i < 8; ++i) ENGINE_UNROLL
    for (int j = 0; j < 8; ++j)
      tile[sum_offset<cols>(place<a_k_contiguous>(row_, i), place<b_k_contiguous>(col_, j))] = sums_[i][j];
  }

 private:
  // Returns row (column) number i of those that the thread `of` holds. Where k is contiguous neighbouring threads hold
  // neighbouring rows, else neighbouring fours of them, so that either way a warp's vectors lie in all banks.
  template <bool k_contiguous>
  static __device__ __forceinline__ int place(int of, int i) {
    return k_contiguous ? of + 8 * i : 4 * of + 32 * (i / 4) + i % 4;
  }
  template <class Tile>
  static __device__ __forceinline__ void load(float (&to)[4][8], const float* tile, int of, int k) {
    if constexpr (Tile::k_contiguous) {
      ENGINE_UNROLL
      for (int i = 0; i < 8; ++i) {
        const Vector16<float> v = load_vector(tile + Tile::offset(of + 8 * i, k / 4));
        ENGINE_UNROLL
        for (int step = 0; step < 4; ++step) to[step][i] = v.at[step];
      }
    } else {
      ENGINE_UNROLL
      for (int step = 0; step < 4; ++step) ENGINE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const Vector16<float> v = load_vector(tile + Tile::offset(k + step, of + 8 * half));
        ENGINE_UNROLL
        for (int i = 0; i < 4; ++i) to[step][4 * half + i] = v.at[i];
      }
    }
  }

  int row_, col_;
  float sums_[8][8];
};

}  // namespace engine::cuda
