// The words that GPT-2's byte-level BPE works on: the matches, one after another, of
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// (Radford et al. 2019, encoder.py), found by hand: no branch of it looks further than one character ahead.
#pragma once

#include "text/unicode.h"

namespace engine {

namespace detail {

// Where the run of characters of class `wanted` that begins at `place` ends.
inline const char* end_of_run(const char* place, const char* end, CharacterClass wanted) {
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

// The length of the contraction that begins at the apostrophe at `place`, or 0.
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

// The end of the word that begins at `place`, which is before `end`. The text is well-formed UTF-8.
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

  // Spaces: all but the last, which belongs to the word that follows; all at the end of the text.
  const char* run_end = detail::end_of_run(place, end, CharacterClass::space);
  if (run_end == end) return end;
  const char* last = run_end;
  previous_character(last);
  return last > place ? last : run_end;
}

}  // namespace engine
