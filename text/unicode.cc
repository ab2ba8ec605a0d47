#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"

namespace engine {

namespace {

// Letters and numbers that Unicode has had since 15.1 (2023) and 16.0 (2024), for a utf8proc that does not know them.
struct ClassRange {
  char32_t first, last;
  CharacterClass kind;
};
constexpr CharacterClass letters = CharacterClass::letter, numbers = CharacterClass::number;
constexpr ClassRange recent[] = {
    {0x1c89, 0x1c8a, letters},   {0xa7cb, 0xa7cd, letters},   {0xa7da, 0xa7dc, letters},   {0x105c0, 0x105f3, letters},
    {0x10d40, 0x10d49, numbers}, {0x10d4a, 0x10d65, letters}, {0x10d6f, 0x10d85, letters}, {0x10ec2, 0x10ec4, letters},
    {0x11380, 0x11389, letters}, {0x1138b, 0x1138b, letters}, {0x1138e, 0x1138e, letters}, {0x11390, 0x113b5, letters},
    {0x113b7, 0x113b7, letters}, {0x113d1, 0x113d1, letters}, {0x113d3, 0x113d3, letters}, {0x116d0, 0x116e3, numbers},
    {0x11bc0, 0x11be0, letters}, {0x11bf0, 0x11bf9, numbers}, {0x13460, 0x143fa, letters}, {0x16100, 0x1611d, letters},
    {0x16130, 0x16139, numbers}, {0x16d40, 0x16d6c, letters}, {0x16d70, 0x16d79, numbers}, {0x18cff, 0x18cff, letters},
    {0x1ccf0, 0x1ccf9, numbers}, {0x1e5d0, 0x1e5ed, letters}, {0x1e5f0, 0x1e5f0, letters}, {0x1e5f1, 0x1e5fa, numbers},
    {0x2ebf0, 0x2ee5d, letters}};

CharacterClass recent_class(char32_t character) {
  for (const ClassRange& range : recent)
    if (character >= range.first && character <= range.last) return range.kind;
  return CharacterClass::other;
}

CharacterClass computed_class(char32_t character) {
  // White_Space is a property of its own; categories come near it but miss U+0085 and U+0009 ... U+000D.
  if ((character >= 0x09 && character <= 0x0d) || character == 0x20 || character == 0x85) return CharacterClass::space;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(character))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return CharacterClass::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return CharacterClass::number;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return CharacterClass::space;
    case UTF8PROC_CATEGORY_CN: return recent_class(character);
    default: return CharacterClass::other;
  }
}

const CharacterClass* make_basic_plane() {
  static std::array<CharacterClass, 0x10000> classes;
  for (char32_t character = 0; character < 0x10000; ++character) classes[character] = computed_class(character);
  return classes.data();
}

// Returns the length of the well-formed character at `place`, or else minus the number of bytes to skip, which could
// have begun a character, at least one (Unicode, table 3-7).
int character_length(const char* place, const char* end) {
  const auto byte = [&](int i) { return static_cast<unsigned char>(place[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return -1;
  const int length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  unsigned least = 0x80, most = 0xbf;  // the second byte's range
  if (first == 0xe0) least = 0xa0;
  if (first == 0xed) most = 0x9f;
  if (first == 0xf0) least = 0x90;
  if (first == 0xf4) most = 0x8f;
  for (int i = 1; i < length; ++i) {
    if (place + i == end || byte(i) < least || byte(i) > most) return -i;
    least = 0x80, most = 0xbf;
  }
  return length;
}

}  // namespace

namespace detail {
const CharacterClass* const basic_plane_classes = make_basic_plane();
CharacterClass supplementary_class(char32_t character) { return computed_class(character); }
}  // namespace detail

bool is_word_character(char32_t character) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(character))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return character == 0x200c || character == 0x200d || class_of(character) == CharacterClass::letter;
  }
}

size_t find_invalid_utf8(std::string_view text) {
  const char* place = text.data();
  const char* const end = place + text.size();
  while (place < end) {
    uint64_t eight;
    if (end - place >= 8 && (std::memcpy(&eight, place, 8), (eight & 0x8080808080808080u) == 0)) {
      place += 8;
      continue;
    }
    const int length = character_length(place, end);
    if (length < 0) return static_cast<size_t>(place - text.data());
    place += length;
  }
  return text.size();
}

namespace {

// Without a mark, Latin letters in UTF-16 have every other byte 0. A text in UTF-8 may hold a 0, too.
bool looks_like_utf16(std::string_view bytes) {
  const size_t count = std::min<size_t>(bytes.size(), 32) / 2;
  for (const size_t zero : {size_t{0}, size_t{1}}) {
    bool all = count > 0;
    for (size_t i = 0; i < count; ++i) all = all && bytes[2 * i + zero] == 0 && bytes[2 * i + 1 - zero] != 0;
    if (all) return true;
  }
  return false;
}

}  // namespace

std::string_view text_of_file(std::string_view bytes, const std::string& file) {
  const bool has_mark = bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF");
  if (has_mark || looks_like_utf16(bytes))
    fail(file, ": looks like UTF-16, it should be UTF-8: convert it, for instance with iconv -f UTF-16 -t UTF-8");
  return bytes.starts_with("\xEF\xBB\xBF") ? bytes.substr(3) : bytes;
}

void require_utf8(std::string_view text) {
  const size_t place = find_invalid_utf8(text);
  if (place == text.size()) return;
  constexpr char digits[] = "0123456789abcdef";
  const unsigned byte = static_cast<unsigned char>(text[place]);
  fail("the text is not valid UTF-8: byte 0x", digits[byte >> 4], digits[byte & 15], " at byte ", place,
       " begins no character");
}

std::string repair_utf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  while (true) {
    const size_t valid = find_invalid_utf8(text);
    repaired += text.substr(0, valid);
    if (valid == text.size()) return repaired;
    text.remove_prefix(valid);
    repaired += "\xef\xbf\xbd";
    text.remove_prefix(static_cast<size_t>(-character_length(text.data(), text.data() + text.size())));
  }
}

void append_utf8(std::string& text, char32_t character) {
  const auto append = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (character < 0x80) {
    append(character);
  } else if (character < 0x800) {
    append(0xc0 | character >> 6), append(0x80 | (character & 63));
  } else if (character < 0x10000) {
    append(0xe0 | character >> 12), append(0x80 | (character >> 6 & 63)), append(0x80 | (character & 63));
  } else {
    append(0xf0 | character >> 18), append(0x80 | (character >> 12 & 63));
    append(0x80 | (character >> 6 & 63)), append(0x80 | (character & 63));
  }
}

size_t count_characters(std::string_view text) {
  size_t count = 0;
  for (const char byte : text) count += (byte & 0xc0) != 0x80;
  return count;
}

std::string shown(char32_t character) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string code = "U+";
  const int length = character > 0xfffff ? 6 : character > 0xffff ? 5 : 4;
  for (int i = length - 1; i >= 0; --i) code += digits[character >> (4 * i) & 15];
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(character));
  const bool visible = category != UTF8PROC_CATEGORY_CC && category != UTF8PROC_CATEGORY_CN &&
                       category != UTF8PROC_CATEGORY_CO && class_of(character) != CharacterClass::space;
  if (!visible) return code;
  std::string text = "\"";
  append_utf8(text, character);
  return text + "\" (" + code + ")";
}

}  // namespace engine
