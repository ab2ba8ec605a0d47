#include "text/charsmap.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/base64.h"
#include "text/graphemes.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr size_t most_charsmap_bytes = size_t{64} << 20;
constexpr size_t longest_cluster = 5;  // bytes; a longer cluster of characters is looked up character by character

// A unit of the double array: the label of the edge that leads to it, where its children are, and whether a value is
// among them.
bool has_value(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value(uint32_t unit) { return unit & 0x7fffffff; }
uint32_t label(uint32_t unit) { return unit & 0x800000ff; }
size_t offset(uint32_t unit) { return size_t{unit >> 10} << ((unit & 0x200) >> 6); }

// Collects the characters of the result. As in the reference, a replacement that is empty belongs to the character
// before it, and moves the places of all that follow by one where there is none.
class Replaced {
 public:
  explicit Replaced(size_t size) { changes_.reserve(size); }
  void keep(char32_t character) { changes_.push_back({character, 0}); }
  void replace(int old_count, std::string_view text) {
    int new_count = 0;
    for (const char *place = text.data(), *end = place + text.size(); place < end; ++new_count)
      changes_.push_back({next_character(place), new_count >= old_count});
    if (new_count < old_count && !changes_.empty()) changes_.back().change += new_count - old_count;
  }
  const std::vector<CharacterChange>& changes() const { return changes_; }

 private:
  std::vector<CharacterChange> changes_;
};

}  // namespace

Charsmap::Charsmap(std::string bytes, const std::string& where) : bytes_(std::move(bytes)) {
  uint32_t size = 0;
  if (bytes_.size() >= sizeof size) std::memcpy(&size, bytes_.data(), sizeof size);
  if (size == 0 || size % 4 != 0 || size > bytes_.size() - 4 || bytes_.size() > most_charsmap_bytes)
    fail(where, ": the normalizer's precompiled_charsmap of ", bytes_.size(), " bytes is not whole");
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes_.data() + 4, size);
  texts_ = std::string_view(bytes_).substr(4 + size);
  check_entries(where);
  for (size_t i = 0; i < ascii_.size(); ++i) {
    const char byte = static_cast<char>(i);
    ascii_[i] = find({&byte, 1});
  }
}

std::string_view Charsmap::text_at(size_t place) const {
  const std::string_view rest = texts_.substr(std::min(place, texts_.size()));
  return rest.substr(0, rest.find('\0'));
}

// Goes through all units that an edge leads to.
void Charsmap::check_entries(const std::string& where) const {
  std::vector<bool> seen(units_.size());
  std::vector<size_t> open{offset(units_[0])};
  while (!open.empty()) {
    const size_t children = open.back();
    open.pop_back();
    for (uint32_t byte = 1; byte < 256; ++byte) {
      const size_t child = children ^ byte;
      if (child >= units_.size() || label(units_[child]) != byte || seen[child]) continue;
      seen[child] = true;
      const size_t below = child ^ offset(units_[child]);
      if (has_value(units_[child])) {
        const std::string_view text = text_at(value(unit(below)));
        if (below >= units_.size() || value(units_[below]) > texts_.size() || find_invalid_utf8(text) < text.size())
          fail(where, ": the normalizer's precompiled_charsmap has an entry that points at no text");
      }
      open.push_back(below);
    }
  }
}

std::optional<std::string_view> Charsmap::find(std::string_view bytes) const {
  size_t place = offset(units_[0]);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    place ^= byte;
    const uint32_t here = unit(place);
    if (label(here) != byte) break;
    place ^= offset(here);
    if (has_value(here)) return text_at(value(unit(place)));
  }
  return std::nullopt;
}

void Charsmap::apply(std::vector<PlacedCharacter>& text) const {
  Replaced result(text.size() + 16);
  bool modified = false;
  std::string cluster;
  const auto rewrite = [&](int count) {
    const auto found = find(cluster);
    if (found) result.replace(count, *found);
    modified = modified || found;
    return found.has_value();
  };
  for (size_t i = 0; i < text.size();) {
    const char32_t first = text[i].character;
    // Below U+0300 only a carriage return and a line feed stand together.
    const bool alone = i + 1 == text.size() || (text[i + 1].character < 0x300 && first != U'\r');
    if (first < 0x80 && alone) {
      if (ascii_[first]) result.replace(1, *ascii_[first]), modified = true;
      else result.keep(first);
      ++i;
      continue;
    }
    GraphemeBreaks breaks;
    breaks.breaks_before(first);
    size_t end = i + 1;
    while (end < text.size() && !breaks.breaks_before(text[end].character)) ++end;
    cluster.clear();
    for (size_t j = i; j < end && cluster.size() <= longest_cluster; ++j) append_utf8(cluster, text[j].character);
    const bool as_one = cluster.size() <= longest_cluster && rewrite(static_cast<int>(end - i));
    for (size_t j = i; j < end && !as_one; ++j) {
      cluster.clear();
      append_utf8(cluster, text[j].character);
      if (!rewrite(1)) result.keep(text[j].character);
    }
    i = end;
  }
  if (modified) place_changes(result.changes(), text);
}

nlohmann::ordered_json Charsmap::to_json() const {
  return {{"type", "Precompiled"}, {"precompiled_charsmap", base64_of(bytes_)}};
}

std::shared_ptr<const Rewrite> make_charsmap(std::string bytes, const std::string& where) {
  return std::make_shared<Charsmap>(std::move(bytes), where);
}

}  // namespace engine
