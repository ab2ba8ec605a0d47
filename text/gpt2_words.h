// GPT-2's byte-level BPE works on words, which are the matches, one after another, of
// (Radford et al. 2019, encoder.py), found by hand: no branch of it looks further than one character ahead.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "text/unicode.h"

namespace engine {

namespace detail {

// Counts the ASCII letters with which the eight bytes at `place` begin. Most words end within eight letters, and a loop
// over them would end where no branch predictor expects it.
inline int leading_ascii_letters(const char* place) {
  static_assert(std::endian::native == std::endian::little, "the first byte is the lowest");
  constexpr uint64_t each = 0x0101010101010101u, top = 0x80 * each;
  uint64_t bytes;
  std::memcpy(&bytes, place, 8);
  const uint64_t lower = (bytes | 0x20 * each) & ~top;
  const uint64_t from_a = lower + (0x80 - 'a') * each, beyond_z = lower + (0x7f - 'z') * each;
  return std::countr_zero((~from_a | beyond_z | bytes) & top) / 8;
}

// Returns the end of the run of characters of class `wanted` that begins at `place`.
inline const char* end_of_run(const char* place, const char* end, CharacterClass wanted) {
  while (wanted == CharacterClass::letter && end - place >= 8) {
    const int letters = leading_ascii_letters(place);
    place += letters;
    if (letters < 8) {
      if (static_cast<unsigned char>(*place) < 0x80) return place;
      break;
    }
  }
  while (place < end) {
    const auto byte = static_cast<unsigned char>(*place);
    if (byte < 0x80) {
      if (basic_plane_classes[byte] != wanted) return place;
      ++place;
    } else {
      const char* after = place;
      if (class_of(next_character(after)) != wanted) return place;
      place = after;
    }
  }
  return end;
}

// Returns the length of the contraction that begins at the apostrophe at `place`, or 0.
inline int contraction_length(const char* place, const char* end) {
  if (end - place < 2) return 0;
  switch (place[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return end - place > 2 && place[2] == 'e' ? 3 : 0;
    case 'l': return end - place > 2 && place[2] == 'l' ? 3 : 0;
    default: return 0;
  }
}

}  // namespace detail

// Returns the end of the word that begins at `place`, which is before `end`. The text is well-formed UTF-8.
inline const char* gpt2_word_end(const char* place, const char* end) {
  const char* start = place;
  if (*place == '\'') {
    const int length = detail::contraction_length(place, end);
    if (length) return place + length;
  } else if (*place == ' ' && place + 1 < end) {
    ++start;
  }
  const char* after = start;
  const CharacterClass kind = class_of(next_character(after));
  if (kind != CharacterClass::space) return detail::end_of_run(after, end, kind);

  // A run of spaces is a word without its last space, which belongs to the next word. At the end of the text it is
  // whole.
  const char* run_end = detail::end_of_run(place, end, CharacterClass::space);
  if (run_end == end) return end;
  const char* last = run_end;
  previous_character(last);
  return last > place ? last : run_end;
}

}  // namespace engine
