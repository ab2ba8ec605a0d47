// Copies tiles of operands to shared memory.
#pragma once

#include <algorithm>

#include "kernels/cuda/block.h"
#include "kernels/matmul/cuda/matmul.h"

namespace engine::cuda {

// Holds outer x k_step elements of an operand in the order that they have in memory: rows of one `outer` where k is
// contiguous, else rows of one k. The pieces of 16 bytes in a row are exchanged by XOR with the row's number. Then
// eight rows' pieces at one place, which one ldmatrix or one 128-byte phase of vector loads reads, lie in all 32 banks.
// Two rows of 64 bytes share 128 bytes, so that (row / 2) % 4 moves them, and row % 8 moves longer ones.
template <class T, int outer_, int k_step_, bool k_contiguous_>
struct OperandTile {
  using Element = T;
  static constexpr int outer = outer_, k_step = k_step_;
  static constexpr bool k_contiguous = k_contiguous_;
  static constexpr int piece = 16 / static_cast<int>(sizeof(T));
  static constexpr int rows = k_contiguous ? outer : k_step;
  static constexpr int row_pieces = (k_contiguous ? k_step : outer) / piece;
  static constexpr int elements = outer * k_step;
  static_assert(row_pieces == 4 || row_pieces % 8 == 0);

  // Returns the first element of piece `at` of a row.
  static __device__ __forceinline__ int offset(int row, int at) {
    return (row * row_pieces + (row_pieces == 4 ? at ^ (row >> 1 & 3) : at ^ (row & 7))) * piece;
  }
};

// Copies a thread's share of an operand's tiles, one k_step after another.
template <class Tile, int threads>
class TileLoader {
  using T = typename Tile::Element;
  static constexpr int count = Tile::rows * Tile::row_pieces / threads, row_step = threads / Tile::row_pieces;
  static_assert(Tile::rows * Tile::row_pieces % threads == 0 && threads % Tile::row_pieces == 0);

 public:
  __device__ __forceinline__ TileLoader(const Factor& from, int64_t first_outer)
      : row_(static_cast<int>(threadIdx.x) / Tile::row_pieces),
        at_(static_cast<int>(threadIdx.x) % Tile::row_pieces),
        stride_(from.stride),
        k_(from.k) {
    const int64_t outer = first_outer + (Tile::k_contiguous ? row_ : at_ * Tile::piece);
    rows_left_ = static_cast<int>(std::min(std::max(from.outer - outer, int64_t{0}), int64_t{Tile::outer}));
    base_ = static_cast<const T*>(from.data);
    data_ = base_ + (Tile::k_contiguous ? outer * stride_ + at_ * Tile::piece : row_ * stride_ + outer);
  }
  // Starts the copies of the elements k ... k + k_step - 1. Elements outside the operand become 0.
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

// Places a block's sums in shared memory between the threads that hold them and the rows of c, f32 [rows][cols].
// Columns are exchanged by eights with the row's number, so that the pairs which a warp's lanes hold of neighbouring
// rows lie in all banks.
template <int cols>
__device__ __forceinline__ int sum_offset(int row, int col) {
  return row * cols + (col ^ (row & 3) << 3);
}

}  // namespace engine::cuda
