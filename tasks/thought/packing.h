// Packs pieces of documents into rows of a fixed room. Pieces are taken in windows of a fixed number, in their order.
// Those of a window are taken longest first, equal ones in their order, and each goes into the row with the least room
// left that still holds it, the first of equal ones, or else begins a row (best fit decreasing). So rows are a function
// of the lengths alone, and what comes later changes none of an earlier window's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace engine {

struct PackedRows {
  std::vector<int32_t> pieces;       // row after row, each row's in the order in which they came into it
  std::vector<int64_t> begins{0};    // [rows + 1], places in `pieces`

  int64_t rows() const { return static_cast<int64_t>(begins.size()) - 1; }
  std::span<const int32_t> row(int64_t i) const {
    const auto at = static_cast<size_t>(i);
    return std::span(pieces).subspan(static_cast<size_t>(begins[at]), static_cast<size_t>(begins[at + 1] - begins[at]));
  }
};

inline constexpr size_t pieces_of_window = 4096;

// Lengths are 1 ... room.
PackedRows pack_rows(std::span<const int32_t> lengths, int32_t room, size_t window = pieces_of_window);

}  // namespace engine
