// The tensor-core kernels of attention lay a tile out in shared memory as rows of D bf16 in pieces of 16 bytes, the
// unit of copy_async_16 and of ldmatrix. Piece p of row r lies at the place tile_piece(D / 8, r, p), counted in pieces.
//
// Shared memory has 32 banks of 4 bytes. A piece takes 4 neighbouring banks, the group "place mod 8". The hardware
// serves an access of 16 bytes a lane in phases of 8 lanes, without a conflict where the 8 pieces lie in 8 different
// groups.
// - ldmatrix reads in phase i the rows of matrix i, one piece of 8 consecutive rows 8 m ... 8 m + 7. Without a
//   permutation row r's piece p is in the group (r D/8 + p) mod 8, the same for all 8 rows if D = 64 or 128.
//   D/8 = 0 mod 8 (D = 64, 128): p ^ (r mod 8) takes 8 different values mod 8 over the rows.
//   D/8 = 4 mod 8 (D = 32, 96): the row gives 4 (r mod 2), the piece gives its upper group bit, and p ^ (r/2 mod 4)
//   takes each lower pair of bits once among the four rows of one parity.
// - Copies write, by 8 neighbouring threads, 8 or twice 4 pieces of a row, which are permuted among themselves.
// - Lane (g, t) writes 4 bytes of a result, word t of one piece of row g: the same 8 pieces as a phase of ldmatrix.
//   Then 8 neighbouring lanes read it piece after piece, row after row.
// tests/test_attention_layout.cc counts the conflicts of all of these.
#pragma once

namespace engine::cuda {

constexpr int tile_piece(int pieces, int row, int piece) {
  const int mask = pieces % 8 == 0 ? 7 : 3, turn = pieces % 8 == 0 ? row : row >> 1;
  return row * pieces + (piece & ~mask) + ((piece ^ turn) & mask);
}

// Returns the row of 16, and the piece, that lane `lane` addresses in load_matrix_x4 for the columns from 16 k. The
// matrices are rows 0-7 and 8-15 of columns 0-7, then of columns 8-15. They are a left operand of 16 x 16, or,
// transposed, two right operands of 16 (rows) x 8.
struct PieceOfLane {
  int row, piece;
};
constexpr PieceOfLane down_then_right(int lane, int k) { return {lane % 8 + lane / 8 % 2 * 8, 2 * k + lane / 16}; }
// Gives columns 0-7 and 8-15 of rows 0-7, then of rows 8-15: two right operands of 16 (columns) x 8 (rows).
constexpr PieceOfLane right_then_down(int lane, int k) { return {lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2}; }

}  // namespace engine::cuda
