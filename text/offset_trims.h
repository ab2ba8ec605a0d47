// How the post-processors of byte-level tokens narrow a token's offsets.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace engine {

// Leaves the spaces at both ends of a token out of its offsets, once for each entry of `trims`. Where the entry is
// true, the text may have got a space in front: a single space of the first token stays. `spelled` is the token as the
// vocabulary spells it, or the part of the text that an added token took.
void trim_offsets(const std::vector<bool>& trims, std::string_view spelled, bool is_first,
                  std::pair<int32_t, int32_t>& offsets);

}  // namespace engine
