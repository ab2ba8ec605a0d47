// A tree of bytes holds the pieces of a model in a double array (Aoe 1989), so that one walk finds all pieces with
// which a text begins, at a step a byte.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace engine {

class PieceTrie {
 public:
  // Takes pieces in order, each once, none empty, with values from 0 on.
  explicit PieceTrie(const std::vector<std::pair<std::string_view, int32_t>>& pieces);

  // Calls found(value, length) for each piece with which the text begins, the shortest first.
  template <class Found>
  void for_each_prefix(const char* text, const char* end, const Found& found) const {
    uint32_t node = 0;
    for (const char* place = text; place < end; ++place) {
      const uint32_t child = units_[node].base ^ static_cast<unsigned char>(*place);
      if (units_[child].parent != node) return;
      node = child;
      if (values_[node] >= 0) found(values_[node], static_cast<size_t>(place + 1 - text));
    }
  }

 private:
  static constexpr uint32_t none = UINT32_MAX;
  // The child of a node for a byte stands at base ^ byte.
  struct Unit {
    uint32_t base = 0, parent = none;
  };
  void grow();
  uint32_t find_base(const std::vector<unsigned char>& bytes);

  std::vector<Unit> units_;
  std::vector<int32_t> values_;       // of the piece that ends at a node, or -1
  uint32_t first_free_ = 1;           // no unit before it is free
  uint32_t blocks_end_ = 256;         // no unit from it on is taken
};

}  // namespace engine
