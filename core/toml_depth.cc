// How deep a TOML text nests, and where it is wrong.
#include "core/toml.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

namespace engine {

namespace {

constexpr size_t most_depth = 64;

bool fails_assertion(std::string_view text) {
  try {
    static_cast<void>(toml::parse(text));
  } catch (const TomlAssertion&) {
    return true;
  } catch (const toml::parse_error&) {
  }
  return false;
}

// Returns the place behind the string that begins at a quote. One of a single line ends with its line.
size_t behind_string(std::string_view text, size_t begin) {
  const char quote = text[begin];
  const bool is_long = text.substr(begin, 3) == std::string(3, quote);
  size_t at = begin + (is_long ? 3 : 1);
  for (; at < text.size(); ++at) {
    if (text[at] == '\\' && quote == '"') ++at;
    else if (!is_long && (text[at] == quote || text[at] == '\n')) return at + (text[at] == quote);
    else if (is_long && text.substr(at, 3) == std::string(3, quote)) return at + 3;
  }
  return text.size();
}

}  // namespace

void check_toml_depth(const std::string& text, const std::string& source) {
  size_t depth = 0, dots = 0;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      at = behind_string(text, at);
      continue;
    }
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    if (c == '[' || c == '{') ++depth;
    else if ((c == ']' || c == '}') && depth > 0) --depth;
    if (c == '.') ++dots;
    else if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != ' ' && c != '\t') dots = 0;
    if (depth > most_depth || dots > most_depth)
      fail_usage(source, ":", 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n'), ": ",
                 depth > most_depth ? "lists and tables are" : "a name is", " nested deeper than ", most_depth);
    ++at;
  }
}

void fail_toml_assertion() { throw TomlAssertion(); }

size_t line_of_assertion(std::string_view text) {
  std::vector<size_t> ends;  // of each line
  for (size_t at = 0; at < text.size(); at = ends.back())
    ends.push_back(std::min(text.find('\n', at), text.size() - 1) + 1);
  // The library reads from the beginning, so that lines behind the wrong one change nothing.
  const auto wrong = std::partition_point(ends.begin(), ends.end(),
                                          [&](size_t end) { return !fails_assertion(text.substr(0, end)); });
  return static_cast<size_t>(wrong - ends.begin()) + 1;
}

}  // namespace engine
