// Says how much of an arena a tensor takes, for code that reserves as much as it will need.
#pragma once

#include <cstddef>

namespace engine {

// Tensors begin at multiples of 64 bytes. At least one byte behind each belongs to no tensor, so that an access beyond
// its end is not an access to its neighbour.
constexpr size_t arena_room(size_t bytes) { return (bytes / 64 + 1) * 64; }

}  // namespace engine
