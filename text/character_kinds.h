// BERT's tokenizer tells these kinds of characters apart. As in the reference implementation they follow the categories
// of Unicode 8, whatever Unicode the machine's libraries know (tests/golden/make_character_tables.py).
#pragma once

#include <cstdint>

namespace engine {

struct CharacterKind {
  static constexpr uint8_t control = 1;      // no text: control characters, private use, U+FFFD
  static constexpr uint8_t punctuation = 2;  // a word of its own
  static constexpr uint8_t nonspacing = 4;   // an accent that BERT strips
  static constexpr uint8_t mark = 8;         // any combining mark
  static constexpr uint8_t chinese = 16;     // an ideograph of BERT's blocks: a word of its own
  static constexpr uint8_t space = 32;       // White_Space
};

namespace detail {
extern const uint8_t* const character_kinds;
}

// Returns a set of the bits above.
inline uint8_t kinds_of(char32_t character) { return detail::character_kinds[character]; }

}  // namespace engine
