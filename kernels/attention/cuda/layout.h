// How the tensor-core kernels of attention lay a tile out in shared memory: rows of D bf16, cut into pieces of 16
// bytes, the unit of copy_async_16 and of ldmatrix. Piece p of row r lies at the place tile_piece(D / 8, r, p), counted
// in pieces.
//
// Banks. Shared memory has 32 banks of 4 bytes: a piece takes 4 neighbouring ones, the group "place mod 8". An access
// of 16 bytes a lane is served in phases of 8 lanes, without a conflict where the 8 pieces lie in 8 different groups.
// - ldmatrix: phase i reads the rows of matrix i, which here are one piece of 8 consecutive rows 8 m ... 8 m + 7.
//   Without a permutation row r's piece p is in the group (r D/8 + p) mod 8: for D = 64 or 128 the same for all 8 rows.
//   D/8 = 0 mod 8 (D = 64, 128): p ^ (r mod 8) takes 8 different values mod 8 over the rows.
//   D/8 = 4 mod 8 (D = 32, 96): the row already gives 4 (r mod 2), the piece's upper group bit is its own, and
//     p ^ (r/2 mod 4) takes each lower pair of bits once among the four rows of one parity.
// - Copies: 8 neighbouring threads write 8 or twice 4 pieces of a row, which are permuted among themselves.
// - A result: lane (g, t) writes 4 bytes, word t of one piece of row g: the same 8 pieces as a phase of ldmatrix. It is
//   read back by 8 neighbouring lanes piece after piece, row after row.
// tests/test_attention_layout.cc goes through all of them and counts.
#pragma once

namespace engine::cuda {

constexpr int tile_piece(int pieces, int row, int piece) {
  const int mask = pieces % 8 == 0 ? 7 : 3, turn = pieces % 8 == 0 ? row : row >> 1;
  return row * pieces + (piece & ~mask) + ((piece ^ turn) & mask);
}

// Which of 16 rows, and which piece, lane `lane` addresses in load_matrix_x4 for the columns from 16 k:
// matrices in the order rows 0-7 and 8-15 of columns 0-7, then of columns 8-15. As the left operand of a product that
// is a 16 x 16 fragment; transposed, two right operands of 16 (rows) x 8.
struct PieceOfLane {
  int row, piece;
};
constexpr PieceOfLane down_then_right(int lane, int k) { return {lane % 8 + lane / 8 % 2 * 8, 2 * k + lane / 16}; }
// Columns 0-7 and 8-15 of rows 0-7, then of rows 8-15: two right operands of 16 (columns) x 8 (rows).
constexpr PieceOfLane right_then_down(int lane, int k) { return {lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2}; }

}  // namespace engine::cuda
