// How much of an arena a tensor takes, for whoever reserves as much as it will need.
#pragma once

#include <cstddef>

namespace engine {

// Tensors begin at multiples of 64 bytes, and behind each at least a byte is nobody's, so that an access beyond its end
// is none of its neighbour.
constexpr size_t arena_room(size_t bytes) { return (bytes / 64 + 1) * 64; }

}  // namespace engine
