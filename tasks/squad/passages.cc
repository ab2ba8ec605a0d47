#include "tasks/squad/passages.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/unicode.h"

namespace engine {

std::vector<ByteRange> lines_of(std::string_view text) {
  std::vector<ByteRange> lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(begin, end);
    begin = end + 1;
  }
  return lines;
}

WordEdges::WordEdges(std::string_view text) {
  for (const char *at = text.data(), *const end = at + text.size(); at < end;) {
    const char32_t character = next_character(at);
    const utf8proc_category_t kind = utf8proc_category(static_cast<utf8proc_int32_t>(character));
    const bool is_mark = kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME;
    of_word_.push_back(is_mark || is_word_character(character));
  }
}

std::vector<ByteRange> sentences_of(std::string_view text) {
  static constexpr std::string_view danda = "\xe0\xa5\xa4";
  const auto is_space = [&](size_t at) { return text[at] == ' ' || text[at] == '\t' || text[at] == '\r'; };
  std::vector<ByteRange> sentences;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    size_t behind = at + 1;
    bool ends = text[at] == '\n';
    if (!ends) {
      const bool is_danda = text.substr(at).starts_with(danda);
      if (is_danda) behind = at + danda.size();
      const bool is_mark = is_danda || text[at] == '.' || text[at] == '?' || text[at] == '!';
      ends = is_mark && behind < text.size() && (is_space(behind) || text[behind] == '\n');
      if (ends) {
        while (behind < text.size() && is_space(behind)) ++behind;
        if (behind < text.size() && text[behind] == '\n') ++behind;
      }
    }
    if (ends) {
      sentences.emplace_back(begin, behind);
      begin = behind;
    }
    at = behind;
  }
  if (begin < text.size()) sentences.emplace_back(begin, text.size());
  return sentences;
}

}  // namespace engine
