// UTF-8 and the classes of characters that tokenizers split by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace engine {

// \p{L}, \p{N}, \s (White_Space) and all others, as regular expressions over Unicode name them.
enum class CharacterClass : uint8_t { other, letter, number, space };

namespace detail {
// The classes of U+0000 ... U+FFFF.
extern const CharacterClass* const basic_plane_classes;
CharacterClass supplementary_class(char32_t character);
}  // namespace detail

inline CharacterClass class_of(char32_t character) {
  return character < 0x10000 ? detail::basic_plane_classes[character] : detail::supplementary_class(character);
}
inline bool is_space(char32_t character) { return class_of(character) == CharacterClass::space; }
// \w: letters, marks, numbers that are digits or letters, connecting punctuation and joiners.
bool is_word_character(char32_t character);

// Returns the place of the first byte that no well-formed UTF-8 can have (overlong forms, surrogates, values above
// U+10FFFF, stray or missing continuation bytes), else text.size().
size_t find_invalid_utf8(std::string_view text);
// Throws an Error that gives the offset of the first byte that is no UTF-8.
void require_utf8(std::string_view text);
// Returns the text of a file, or of its first line, without the byte order mark that it may begin with. UTF-16 is an
// Error that names the file.
std::string_view text_of_file(std::string_view bytes, const std::string& file);
// Replaces each maximal piece that begins like a character and cannot be one by U+FFFD (Unicode 3.9, "best practice").
std::string repair_utf8(std::string_view text);

// Returns the character at *place, which moves behind it. The text must be well-formed.
inline char32_t next_character(const char*& place) {
  const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(place[i])); };
  const char32_t first = byte(0);
  char32_t character = first;
  int length = 1;
  if (first >= 0xf0) {
    character = (first & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
    length = 4;
  } else if (first >= 0xe0) {
    character = (first & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
    length = 3;
  } else if (first >= 0x80) {
    character = (first & 31) << 6 | (byte(1) & 63);
    length = 2;
  }
  place += length;
  return character;
}
// Returns the character that ends before *place, which moves to its beginning.
inline char32_t previous_character(const char*& place) {
  do --place;
  while ((*place & 0xc0) == 0x80);
  const char* copy = place;
  return next_character(copy);
}

void append_utf8(std::string& text, char32_t character);
size_t count_characters(std::string_view text);
// Spells a character for messages: "é" (U+00E9), or U+000A alone if the character cannot be shown.
std::string shown(char32_t character);

}  // namespace engine
