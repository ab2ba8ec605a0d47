// Added tokens are recognised in a text before it is split: special ones ("<|endoftext|>") and those added later.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace engine {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = true;
  bool single_word = false;      // no word character stands beside it
  bool strip_left = false;       // takes the white space before it
  bool strip_right = false;      // takes the white space behind it
  bool normalized = false;       // it is looked for in normalized text
  bool passed_over = false;      // it is matched, but left in the text
  bool follows_special = false;  // no file gives `normalized`: it is the opposite of `special`

  bool operator==(const AddedToken&) const = default;
};

class AddedTokens {
 public:
  void add(AddedToken token);  // each id and content once
  const std::vector<AddedToken>& all() const { return tokens_; }
  bool empty() const { return tokens_.empty(); }

  // A piece of a text is an added token (its index in all()), or text between added tokens (-1).
  struct Piece {
    std::string_view text;
    int token;
    int32_t overlap = 0;  // characters of it that the piece before it has, too
  };
  // Splits the text into pieces, in order, none empty. Among tokens that match, the leftmost counts, and among these
  // the longest. White space that a token takes behind it may be an added token, too, as in the library tokenizers: it
  // is then in two pieces.
  std::vector<Piece> split(std::string_view text) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  struct Group {
    std::unordered_map<std::string, int, Hash, std::equal_to<>> index;  // each content's place in tokens_
    std::array<std::vector<size_t>, 256> lengths;  // of contents by their first byte, longest first
    std::vector<unsigned char> first_bytes;
  };
  void split(std::string_view text, const Group& group, std::vector<Piece>& pieces) const;
  static int match_at(std::string_view text, size_t place, const Group& group);
  static size_t next_candidate(std::string_view text, size_t from, const Group& group);

  std::vector<AddedToken> tokens_;
  std::unordered_set<int32_t> ids_;
  Group plain_, normalized_;
};

}  // namespace engine
