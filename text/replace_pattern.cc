#include "text/replace_pattern.h"

#include <algorithm>

#include "core/error.h"
#include "text/unicode.h"

namespace engine {

namespace {

bool is_digit(char32_t character) { return character >= U'0' && character <= U'9'; }

// Reads a number of at most six digits at *place, which moves behind it.
bool read_number(std::u32string_view text, size_t& place, size_t& number) {
  const size_t begin = place;
  for (number = 0; place < text.size() && is_digit(text[place]) && place - begin < 6; ++place)
    number = 10 * number + (text[place] - U'0');
  return place > begin;
}

// Reads + {n} {n,} {n,m} at *place, if one stands there. Returns false for another quantifier.
bool read_quantifier(std::u32string_view text, size_t& place, size_t& least, size_t& most) {
  if (place == text.size()) return true;
  if (text[place] == U'+') {
    ++place;
    least = 1, most = SIZE_MAX;
    return true;
  }
  if (text[place] != U'{') return true;
  ++place;
  if (!read_number(text, place, least) || place == text.size()) return false;
  most = least;
  if (text[place] == U',') {
    ++place;
    if (!read_number(text, place, most)) most = SIZE_MAX;
  }
  if (place == text.size() || text[place] != U'}') return false;
  ++place;
  return least > 0 && most >= least;
}

}  // namespace

std::u32string characters_of(std::string_view text) {
  std::u32string characters;
  for (const char *place = text.data(), *end = place + text.size(); place < end;)
    characters += next_character(place);
  return characters;
}

ReplacePattern ReplacePattern::string(const std::string& text, const std::string& where) {
  if (text.empty()) fail(where, ": the normalizer Replace has an empty pattern");
  ReplacePattern pattern;
  pattern.text_ = text;
  pattern.alternatives_.push_back({.characters = characters_of(text)});
  return pattern;
}

ReplacePattern::Alternative ReplacePattern::parse(std::u32string_view text, bool& is_known) {
  constexpr std::u32string_view operators = U"\\^$.|?*+()[]{}";
  Alternative alternative;
  size_t place = 0;
  if (text.starts_with(U"\\A")) alternative.from_begin = true, place = 2;
  bool has_quantifier = false;
  while (place < text.size() && is_known) {
    if (text.substr(place) == U"\\z") {
      alternative.to_end = true;
      break;
    }
    char32_t character = text[place++];
    if (character == U'\\') {
      const char32_t escaped = place < text.size() ? text[place++] : 0;
      constexpr std::pair<char32_t, char32_t> controls[] = {{U'n', U'\n'}, {U't', U'\t'}, {U'r', U'\r'}};
      const auto* const control =
          std::find_if(std::begin(controls), std::end(controls), [&](const auto& one) { return one.first == escaped; });
      if (escaped == U's') alternative.any_space = true;
      else if (control != std::end(controls)) character = control->second;
      else if (operators.find(escaped) != std::u32string_view::npos || escaped == U'-') character = escaped;
      else is_known = false;
      if (escaped != U's') alternative.characters += character;
    } else {
      is_known = is_known && operators.find(character) == std::u32string_view::npos;
      alternative.characters += character;
    }
    const size_t before = place;
    is_known = is_known && read_quantifier(text, place, alternative.least, alternative.most);
    has_quantifier = has_quantifier || place > before;
    // A quantifier, and a class, stand alone.
    const size_t items = alternative.characters.size() + alternative.any_space;
    if ((has_quantifier || alternative.any_space) && items != 1) is_known = false;
  }
  if (alternative.characters.empty() && !alternative.any_space) is_known = false;
  return alternative;
}

ReplacePattern ReplacePattern::regex(const std::string& text, const std::string& where) {
  ReplacePattern pattern;
  pattern.text_ = text;
  pattern.is_regex_ = true;
  const std::u32string characters = characters_of(text);
  bool is_known = true;
  size_t begin = 0;
  for (size_t i = 0; i <= characters.size(); ++i) {
    if (i < characters.size() && characters[i] == U'\\') {
      ++i;
      continue;
    }
    if (i < characters.size() && characters[i] != U'|') continue;
    pattern.alternatives_.push_back(parse(std::u32string_view(characters).substr(begin, i - begin), is_known));
    begin = i + 1;
  }
  if (!is_known)
    fail(where, ": the normalizer Replace has the regular expression \"", text.substr(0, 60), "\", which is not ",
         "supported: a text, or one character or \\s with + or {n,m}, are");
  return pattern;
}

size_t ReplacePattern::match_at(std::span<const PlacedCharacter> text, size_t place) const {
  for (const Alternative& alternative : alternatives_) {
    if (alternative.from_begin && place > 0) continue;
    const std::u32string& wanted = alternative.characters;
    size_t length = 0;
    if (wanted.size() > 1) {
      while (length < wanted.size() && place + length < text.size() && text[place + length].character == wanted[length])
        ++length;
      if (length < wanted.size()) continue;
    } else {
      const auto fits = [&](char32_t character) {
        return alternative.any_space ? is_space(character) : character == wanted[0];
      };
      while (length < alternative.most && place + length < text.size() && fits(text[place + length].character))
        ++length;
      if (length < alternative.least) continue;
    }
    if (!alternative.to_end || place + length == text.size()) return length;
  }
  return 0;
}

bool ReplacePattern::collapses_spaces() const {
  return alternatives_.size() == 1 && alternatives_[0] == Alternative{.characters = U" ", .least = 2, .most = SIZE_MAX};
}

bool ReplacePattern::may_match_space() const {
  return std::any_of(alternatives_.begin(), alternatives_.end(), [](const Alternative& alternative) {
    return alternative.any_space || std::any_of(alternative.characters.begin(), alternative.characters.end(), is_space);
  });
}

}  // namespace engine
