// Multiplies bf16 tiles by tensor cores, m16n8k16. A warp holds 64 x 32 sums of a 128 x 128 tile, or 32 x 32 of a 64 x
// 64 one, in its registers.
#pragma once

#include "kernels/matmul/cuda/tile.h"

namespace engine::cuda {

template <int size, bool a_k_contiguous, bool b_k_contiguous>
class TensorCores {
 public:
  using Element = bfloat16;
  static constexpr int rows = size, cols = size, k_step = 32, stages = 4;
  static constexpr int threads = size == 128 ? 256 : 128, blocks_at_once = size == 128 ? 2 : 4;
  using A = OperandTile<Element, rows, k_step, a_k_contiguous>;
  using B = OperandTile<Element, cols, k_step, b_k_contiguous>;

  __device__ __forceinline__ TensorCores()
      : lane_(lane_index()),
        row_(warp_index() / warp_cols * warp_rows),
        col_(warp_index() % warp_cols * 32) {
    for (int i = 0; i < warp_rows / 16; ++i)
      for (int j = 0; j < 4; ++j)
        for (float& sum : sums_[i][j]) sum = 0;
  }

  // ldmatrix fills a's fragments in the order (rows, k), (rows + 8, k), (rows, k + 8), (rows + 8, k + 8). It fills b's,
  // two blocks of 8 columns at once, in the order (cols, k), (cols, k + 8), (cols + 8, k), (cols + 8, k + 8).
  __device__ __forceinline__ void multiply(const Element* a, const Element* b) {
    const int matrix = lane_ / 8, line = lane_ % 8, low = matrix % 2, high = matrix / 2;
    ENGINE_UNROLL
    for (int k = 0; k < k_step; k += 16) {
      uint32_t of_a[warp_rows / 16][4], of_b[2][4];
      ENGINE_UNROLL
      for (int i = 0; i < warp_rows / 16; ++i) {
        const int row = row_ + 16 * i;
        if constexpr (a_k_contiguous) load_matrix_x4(of_a[i], a + A::offset(row + 8 * low + line, k / 8 + high));
        else load_matrix_x4_transposed(of_a[i], a + A::offset(k + 8 * high + line, row / 8 + low));
      }
      ENGINE_UNROLL
      for (int j = 0; j < 2; ++j) {
        const int col = col_ + 16 * j;
        if constexpr (b_k_contiguous) load_matrix_x4(of_b[j], b + B::offset(col + 8 * high + line, k / 8 + low));
        else load_matrix_x4_transposed(of_b[j], b + B::offset(k + 8 * low + line, col / 8 + high));
      }
      ENGINE_UNROLL
      for (int i = 0; i < warp_rows / 16; ++i)
        ENGINE_UNROLL
        for (int j = 0; j < 4; ++j)
          multiply_add_16x8x16(sums_[i][j], of_a[i], of_b[j / 2][j % 2 * 2], of_b[j / 2][j % 2 * 2 + 1]);
    }
  }

  __device__ __forceinline__ void put(float* tile) const {
    struct alignas(8) Pair {
      float first, second;
    };
    ENGINE_UNROLL
    for (int i = 0; i < warp_rows / 16; ++i)
      ENGINE_UNROLL
      for (int j = 0; j < 4; ++j)
        ENGINE_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int row = row_ + 16 * i + 8 * half + lane_ / 4, col = col_ + 8 * j + lane_ % 4 * 2;
          *reinterpret_cast<Pair*>(tile + sum_offset<cols>(row, col)) = {sums_[i][j][2 * half],
                                                                         sums_[i][j][2 * half + 1]};
        }
  }

 private:
  static constexpr int warp_rows = size / 2, warp_cols = size / 32;  // rows of a warp, warps side by side
  static_assert(threads / warp_size == 2 * warp_cols);

  int lane_, row_, col_;
  float sums_[warp_rows / 16][4][4];
};

}  // namespace engine::cuda
