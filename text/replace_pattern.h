// The patterns of the normalizer Replace: a text, or one of the simple regular expressions that tokenizers have there.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalizer.h"

namespace engine {

std::u32string characters_of(std::string_view text);

// A regular expression here is a list of alternatives, each one a text, or a single character or \s with a quantifier
// (+ {n} {n,} {n,m}), between \A and \z where it has them. An Error names any other.
class ReplacePattern {
 public:
  static ReplacePattern string(const std::string& text, const std::string& where);
  static ReplacePattern regex(const std::string& text, const std::string& where);

  // Returns how many characters the first alternative that matches at `place` takes; 0: none matches.
  size_t match_at(std::span<const PlacedCharacter> text, size_t place) const;

  bool is_regex() const { return is_regex_; }
  const std::string& text() const { return text_; }
  bool collapses_spaces() const;  // " {2,}"
  bool may_match_space() const;

 private:
  struct Alternative {
    bool from_begin = false, to_end = false;
    bool any_space = false;      // \s in the place of `characters`
    std::u32string characters;
    size_t least = 1, most = 1;  // times that the only character comes
    bool operator==(const Alternative&) const = default;
  };
  static Alternative parse(std::u32string_view text, bool& is_known);

  std::string text_;
  bool is_regex_ = false;
  std::vector<Alternative> alternatives_;
};

}  // namespace engine
