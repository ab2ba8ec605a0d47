// Shuffles without a table, by a bijection of 0 ... count-1 that a key chooses.
#pragma once

#include <bit>
#include <cstdint>

#include "core/random.h"

namespace engine {

// Returns the place of `index`. A Feistel network over 2 h bits, the least that hold count, permutes 0 ... 4^h - 1,
// since each of its rounds (l, r) -> (r, l xor f(r)) can be undone, whatever f is. Numbers outside 0 ... count-1 are
// permuted until one is inside (cycle walking, at most three times more on average, since 4^h < 4 count), which keeps
// it a bijection.
inline int64_t permuted(int64_t index, int64_t count, uint64_t seed, uint64_t epoch) {
  const auto bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(count > 1 ? count - 1 : 1)));
  const int half = (bits + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  auto place = static_cast<uint64_t>(index);
  do {
    uint64_t left = place >> half, right = place & mask;
    for (uint32_t round = 0; round < 8; ++round) {
      const uint64_t mixed = philox({static_cast<uint32_t>(right), static_cast<uint32_t>(right >> 32),
                                     static_cast<uint32_t>(epoch), 0x73680000u + round}, seed)[0];
      const uint64_t next = left ^ (mixed & mask);
      left = right;
      right = next;
    }
    place = left << half | right;
  } while (place >= static_cast<uint64_t>(count));
  return static_cast<int64_t>(place);
}

}  // namespace engine
