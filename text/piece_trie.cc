#include "text/piece_trie.h"

#include <algorithm>

namespace engine {

namespace {

// Units that were looked at so often in vain are passed over, or the search would go through all full blocks.
constexpr int most_tries = 16;

}  // namespace

void PieceTrie::grow() {
  units_.resize(units_.size() + std::max<size_t>(units_.size() / 2 / 256 * 256, 256));
  values_.resize(units_.size(), -1);
}

// Finds a base with a free place for each byte.
uint32_t PieceTrie::find_base(const std::vector<unsigned char>& bytes) {
  while (first_free_ < units_.size() && units_[first_free_].parent != none) ++first_free_;
  int tries = 0;
  for (uint32_t place = first_free_;; ++place) {
    if (place >= units_.size()) grow();
    if (units_[place].parent != none) continue;
    const uint32_t base = place ^ bytes[0];
    const auto is_free = [&](unsigned char byte) { return units_[base ^ byte].parent == none && (base ^ byte) != 0; };
    if (std::all_of(bytes.begin(), bytes.end(), is_free)) return base;
    if (bytes.size() > 1 && ++tries == most_tries) {
      if (blocks_end_ == units_.size()) grow();
      return blocks_end_;
    }
  }
}

PieceTrie::PieceTrie(const std::vector<std::pair<std::string_view, int32_t>>& pieces) {
  grow();
  units_[0].parent = none - 1;  // it is nobody's child
  // A node with its pieces [begin, end), which share their first `depth` bytes.
  struct Open {
    uint32_t node;
    size_t begin, end, depth;
  };
  std::vector<Open> open{{0, 0, pieces.size(), 0}};
  std::vector<unsigned char> bytes;
  std::vector<size_t> begins;
  while (!open.empty()) {
    auto [node, begin, end, depth] = open.back();
    open.pop_back();
    if (begin < end && pieces[begin].first.size() == depth) values_[node] = pieces[begin++].second;
    bytes.clear();
    begins.clear();
    for (size_t i = begin; i < end; ++i) {
      const auto byte = static_cast<unsigned char>(pieces[i].first[depth]);
      if (!bytes.empty() && bytes.back() == byte) continue;
      bytes.push_back(byte);
      begins.push_back(i);
    }
    if (bytes.empty()) {
      units_[node].base = node & ~255u;  // its children would have other parents
      continue;
    }
    const uint32_t base = find_base(bytes);
    units_[node].base = base;
    blocks_end_ = std::max(blocks_end_, (base | 255u) + 1);
    begins.push_back(end);
    for (size_t i = 0; i < bytes.size(); ++i) {
      units_[base ^ bytes[i]].parent = node;
      open.push_back({base ^ bytes[i], begins[i], begins[i + 1], depth + 1});
    }
  }
}

}  // namespace engine
