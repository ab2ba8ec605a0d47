// Texts become the input of a model: with special tokens around one text or a pair of them, token types, truncation,
// and windows over a text that is too long.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace engine {

class Tokenizer;
struct Encoding;

// A tokenizer's template: [CLS] a [SEP] b [SEP], or a b without special tokens.
struct Framing {
  struct Piece {
    int32_t token;     // a special token, or -1
    int text;          // 0: the first text, 1: the second; -1: the special token
    int32_t type = 0;  // its tokens' type
  };
  std::vector<Piece> single{{-1, 0, 0}}, pair{{-1, 0, 0}, {-1, 1, 1}};

  static Framing bert(int32_t classifier, int32_t separator);  // [CLS] a [SEP], [CLS] a [SEP] b [SEP] with b of type 1
  static Framing roberta(int32_t classifier, int32_t separator);  // <s> a </s>, <s> a </s> </s> b </s>
  size_t special_tokens(bool is_pair) const;                      // number of added tokens
  Framing without_special_tokens() const;                         // the texts alone, with their types
};

// The input of a model: ids and token types, and the place from which each token comes.
struct Framed {
  std::vector<int32_t> ids, types;
  std::vector<int8_t> texts;                         // 0 or 1: the first or second text; -1: a special token
  std::vector<std::pair<int32_t, int32_t>> offsets;  // in that text, in code points; (0, 0) of a special token
};

enum class Truncation {
  none,           // an Error for a long text
  longest_first,  // shortens the longer text, then both alike
  only_first,
  only_second,  // both: an Error if no token would be left
};

struct Limit {
  size_t max_length = SIZE_MAX;  // with the special tokens
  Truncation truncation = Truncation::longest_first;
  bool special_tokens = true;  // false: the texts alone
};

// Encodes one text, or a pair. Tokens that do not fit are left out, at the end or at the beginning as the tokenizer
// says.
Framed encode_framed(const Tokenizer& tokenizer, std::string_view text, const Limit& limit = {});
Framed encode_framed(const Tokenizer& tokenizer, std::string_view first, std::string_view second,
                     const Limit& limit = {});

// Puts all of a first text and the tokens begin ... end-1 of a second into a tokenizer's template of pairs.
Framed frame_pair(const Framing& framing, const Encoding& first, const Encoding& second, size_t begin, size_t end);

// Returns the tokens, from the first to the one behind the last, of each window that encode_windows makes of a second
// text with `second` tokens behind a first one with `first` tokens. Throws what it throws.
std::vector<std::pair<size_t, size_t>> window_parts(const Tokenizer& tokenizer, size_t first, size_t second,
                                                    size_t max_length, size_t stride);

// Encodes all of `first` with as much of `second` as fits, in as many windows as cover `second`. Each begins `stride`
// tokens before the end of the last (Devlin et al. 2018 call the step between beginnings so; here it is the overlap).
// It is an Error if `first` leaves no more than `stride` places.
std::vector<Framed> encode_windows(const Tokenizer& tokenizer, std::string_view first, std::string_view second,
                                   size_t max_length, size_t stride);

// Returns how many tokens of texts with `first` and `second` tokens are kept in `room` places.
std::pair<size_t, size_t> truncated_lengths(size_t first, size_t second, bool is_pair, size_t room,
                                            Truncation truncation);

}  // namespace engine
