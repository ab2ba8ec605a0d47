#include "tasks/thought/packing.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "core/error.h"

namespace engine {

PackedRows pack_rows(std::span<const int32_t> lengths, int32_t room, size_t window) {
  PackedRows packed;
  packed.pieces.reserve(lengths.size());
  std::vector<int32_t> order;
  std::vector<std::vector<int32_t>> rows;
  for (size_t first = 0; first < lengths.size(); first += window) {
    order.resize(std::min(window, lengths.size() - first));
    std::iota(order.begin(), order.end(), static_cast<int32_t>(first));
    const auto length = [&](int32_t piece) { return lengths[static_cast<size_t>(piece)]; };
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return length(a) > length(b); });
    rows.clear();
    std::set<std::pair<int32_t, size_t>> open;  // room left in a row, and the row
    for (const int32_t piece : order) {
      require(1 <= length(piece) && length(piece) <= room, "a piece of ", length(piece), " tokens for rows of ", room);
      const auto fitting = open.lower_bound({length(piece), 0});
      auto [left, row] = fitting == open.end() ? std::pair{room, rows.size()} : *fitting;
      if (fitting == open.end()) rows.emplace_back();
      else open.erase(fitting);
      rows[row].push_back(piece);
      left -= length(piece);
      if (left > 0) open.emplace(left, row);
    }
    for (const std::vector<int32_t>& row : rows) {
      packed.pieces.insert(packed.pieces.end(), row.begin(), row.end());
      packed.begins.push_back(static_cast<int64_t>(packed.pieces.size()));
    }
  }
  return packed;
}

}  // namespace engine
