// Tiles of operands in shared memory, and how they come there.
#pragma once

#include <algorithm>

#include "kernels/cuda/block.h"

namespace engine::cuda {

// An operand as a kernel takes it: rows begin at multiples of 16 bytes, zeros behind their ends. See Factor.
template <class T>
struct FactorView {
  const T* data;
  int64_t outer, k, stride;
};

// outer x k_step elements of an operand, in the order that they have in memory: rows of one `outer` where k is
// contiguous, else rows of one k. In a row the pieces of 16 bytes are exchanged by XOR with the row's number, so that
// eight rows' pieces at one place, which one ldmatrix or one 128-byte phase of vector loads reads, lie in all 32 banks:
// rows of 64 bytes lie two by two in 128, so there (row / 2) % 4 moves them, else row % 8.
template <class T, int outer_, int k_step_, bool k_contiguous_>
struct OperandTile {
  static constexpr int outer = outer_, k_step = k_step_;
  static constexpr bool k_contiguous = k_contiguous_;
  static constexpr int piece = 16 / static_cast<int>(sizeof(T));
  static constexpr int rows = k_contiguous ? outer : k_step;
  static constexpr int row_pieces = (k_contiguous ? k_step : outer) / piece;
  static constexpr int elements = outer * k_step;
  static_assert(row_pieces == 4 || row_pieces % 8 == 0);

  // Where piece `at` of a row begins, in elements.
  static __device__ __forceinline__ int offset(int row, int at) {
    return (row * row_pieces + (row_pieces == 4 ? at ^ (row >> 1 & 3) : at ^ (row & 7))) * piece;
  }
};

// A thread's share of the copies of an operand's tiles, one k_step after another.
template <class T, class Tile, int threads>
class TileLoader {
  static constexpr int count = Tile::rows * Tile::row_pieces / threads, row_step = threads / Tile::row_pieces;
  static_assert(Tile::rows * Tile::row_pieces % threads == 0 && threads % Tile::row_pieces == 0);

 public:
  __device__ __forceinline__ TileLoader(const FactorView<T>& from, int64_t first_outer)
      : row_(static_cast<int>(threadIdx.x) / Tile::row_pieces),
        at_(static_cast<int>(threadIdx.x) % Tile::row_pieces),
        stride_(from.stride),
        k_(from.k) {
    const int64_t outer = first_outer + (Tile::k_contiguous ? row_ : at_ * Tile::piece);
    rows_left_ = static_cast<int>(std::min(std::max(from.outer - outer, int64_t{0}), int64_t{Tile::outer}));
    data_ = from.data + (Tile::k_contiguous ? outer * stride_ + at_ * Tile::piece : row_ * stride_ + outer);
    base_ = from.data;
  }
  // Starts the copies of the elements k ... k + k_step - 1; what the operand has not becomes 0.
  __device__ __forceinline__ void start(T* tile, int64_t k) const {
    const T* const first = data_ + (Tile::k_contiguous ? k : k * stride_);
    ENGINE_UNROLL
    for (int i = 0; i < count; ++i) {
      const int row = i * row_step;
      const bool valid = Tile::k_contiguous ? row < rows_left_ && k + at_ * Tile::piece < k_
                                            : rows_left_ > 0 && k + row_ + row < k_;
      copy_async_16(tile + Tile::offset(row_ + row, at_), valid ? first + row * stride_ : base_, valid);
    }
  }

 private:
  const T *data_, *base_;
  int row_, at_, rows_left_;
  int64_t stride_, k_;
};

// A block's sums on their way from the threads that hold them to the rows of c, f32 [rows][cols]. Columns are exchanged
// by eights with the row's number, so that the pairs which a warp's lanes hold of neighbouring rows lie in all banks.
template <int cols>
__device__ __forceinline__ int sum_offset(int row, int col) {
  return row * cols + (col ^ (row & 3) << 3);
}

}  // namespace engine::cuda
