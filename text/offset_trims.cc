#include "text/offset_trims.h"

#include <algorithm>

#include "text/unicode.h"

namespace engine {

namespace {

constexpr char32_t spelled_space = 0x120;  // "\u0120" stands for a space in the vocabulary

bool is_trimmed(char32_t character) { return character == spelled_space || is_space(character); }

}  // namespace

void trim_offsets(const std::vector<bool>& trims, std::string_view spelled, bool is_first,
                  std::pair<int32_t, int32_t>& offsets) {
  if (trims.empty()) return;
  int32_t leading = 0, trailing = 0;
  const char *const first = spelled.data(), *const last = first + spelled.size();
  for (const char* place = first; place < last && is_trimmed(next_character(place));) ++leading;
  for (const char* place = last; place > first && is_trimmed(previous_character(place));) ++trailing;
  auto& [begin, end] = offsets;
  for (const bool keeps_prefix_space : trims) {
    const bool is_prefix = keeps_prefix_space && leading == 1 && (is_first || begin == 0);
    if (!is_prefix) begin = std::min(begin + leading, end);
    if (trailing > 0 && end >= trailing) end = std::max(end - trailing, begin);
  }
}

}  // namespace engine
