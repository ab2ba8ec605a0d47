// The tensor-core kernels of attention read and write their tiles in shared memory without bank conflicts. This checks
// every access, phase by phase of 8 lanes, with the function that places pieces.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/attention/cuda/layout.h"

namespace engine::test::test_attention_layout {
namespace {

using cuda::tile_piece;

constexpr int rows = 128;

// Returns how many turns a phase takes: one where its pieces of 16 bytes lie in different groups of 4 banks, else as
// many as lie in the fullest group.
int turns(const std::vector<int>& places) {
  std::array<int, 8> uses{};
  for (int place : places) ++uses[static_cast<size_t>(place % 8)];
  return *std::max_element(uses.begin(), uses.end());
}

template <class Lanes>
void check_matrices(int pieces, const Lanes& lanes) {
  for (int row = 0; row < rows; row += 16)
    for (int k = 0; k < pieces / 2; ++k)
      for (int matrix = 0; matrix < 4; ++matrix) {
        std::vector<int> places;
        for (int lane = 8 * matrix; lane < 8 * matrix + 8; ++lane) {
          const cuda::PieceOfLane of = lanes(lane, k);
          places.push_back(row * pieces + tile_piece(pieces, of.row, of.piece));
          REQUIRE(places.back() == tile_piece(pieces, row + of.row, of.piece));
        }
        REQUIRE(turns(places) == 1);
      }
}

}  // namespace

TEST_CASE("attention's tiles in shared memory: every piece has one place, no access has a bank conflict") {
  for (int pieces : {4, 8, 12, 16}) {  // heads of 32, 64, 96 and 128
    CAPTURE(pieces);
    std::vector<int> used(static_cast<size_t>(rows * pieces));
    for (int row = 0; row < rows; ++row)
      for (int piece = 0; piece < pieces; ++piece) {
        const int place = tile_piece(pieces, row, piece);
        REQUIRE(place / pieces == row);
        ++used[static_cast<size_t>(place)];
      }
    CHECK(std::all_of(used.begin(), used.end(), [](int uses) { return uses == 1; }));

    // ldmatrix addresses rows in two ways. A fragment begins at a row that is a multiple of 8.
    check_matrices(pieces, cuda::down_then_right);
    check_matrices(pieces, cuda::right_then_down);

    // In copies `across` neighbouring threads take a row's pieces. Steps of whole rows keep the permutation.
    const int across = pieces % 8 == 0 ? 8 : 4, rows_at_once = 128 / across;
    for (int row = 0; row < rows; row += rows_at_once)
      for (int piece = 0; piece < pieces; piece += across)
        for (int phase = 0; phase < 128; phase += 8) {
          std::vector<int> places;
          for (int thread = phase; thread < phase + 8; ++thread) {
            const int first_row = thread / across, first = thread % across;
            places.push_back(tile_piece(pieces, row + first_row, piece + first));
            REQUIRE(places.back() == tile_piece(pieces, first_row, first) + row * pieces + piece);
          }
          REQUIRE(turns(places) == 1);
        }

    // The lanes of a fragment write results, 4 bytes each, to 8 rows of one piece. Neighbours read them back in order.
    for (int row = 0; row < rows; row += 8)
      for (int piece = 0; piece < pieces; ++piece) {
        std::vector<int> places;
        for (int g = 0; g < 8; ++g) places.push_back(tile_piece(pieces, row + g, piece));
        REQUIRE(turns(places) == 1);
      }
    for (int first = 0; first < rows * pieces; first += 8) {
      std::vector<int> places;
      for (int i = first; i < first + 8; ++i) places.push_back(tile_piece(pieces, i / pieces, i % pieces));
      REQUIRE(turns(places) == 1);
    }
  }
}

TEST_CASE("attention's tiles in shared memory: without the permutation the count finds conflicts") {
  for (int pieces : {4, 8, 12, 16}) {
    std::vector<int> places;
    for (int row = 0; row < 8; ++row) places.push_back(row * pieces);
    CHECK(turns(places) == (pieces % 8 == 0 ? 8 : 4));
  }
}

}  // namespace engine::test::test_attention_layout
