#include "text/unigram.h"

#include <algorithm>

#include "core/error.h"
#include "text/unicode.h"

namespace engine {

namespace {

constexpr double unknown_penalty = 10;

// The best way to spell a word up to a place.
struct Best {
  double score = 0;
  int32_t id = -1;      // its last token; -1: none ends here
  uint32_t begin = 0;  // of the last token
};

std::string byte_token(int byte) {
  constexpr char digits[] = "0123456789ABCDEF";
  return std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">";
}

PieceTrie make_trie(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string_view, int32_t>> pieces;
  for (int32_t id = 0; id < vocabulary.size(); ++id)
    if (vocabulary.is_in_model(id) && !vocabulary.token(id).empty()) pieces.emplace_back(vocabulary.token(id), id);
  std::sort(pieces.begin(), pieces.end());
  return PieceTrie(pieces);
}

size_t character_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

}  // namespace

UnigramModel::UnigramModel(const Vocabulary& vocabulary, std::vector<double> scores, bool byte_fallback)
    : trie_(make_trie(vocabulary)),
      scores_(std::move(scores)),
      unknown_score_(scores_.empty() ? 0 : *std::min_element(scores_.begin(), scores_.end()) - unknown_penalty),
      unknown_(vocabulary.unknown),
      byte_fallback_(byte_fallback) {
  require(static_cast<int32_t>(scores_.size()) <= vocabulary.size(), "a Unigram model has more scores than tokens");
  for (int byte = 0; byte < 256; ++byte) byte_ids_.push_back(vocabulary.find_in_model(byte_token(byte)));
}

void UnigramModel::spell_unknown(std::string_view word, size_t begin, size_t end, std::vector<Token>& tokens) const {
  // Unknown characters together may be a piece if scores are far above 0.
  int32_t whole = -1;
  const std::string_view bytes = word.substr(begin, end - begin);
  trie_.for_each_prefix(bytes.data(), bytes.data() + bytes.size(), [&](int32_t id, size_t length) {
    if (length == bytes.size()) whole = id;
  });
  const size_t before = tokens.size();
  if (whole < 0 && byte_fallback_) {
    for (size_t i = bytes.size(); i-- > 0;)
      tokens.push_back({byte_ids_[static_cast<unsigned char>(bytes[i])], begin, end});
    const auto is_missing = [](const Token& token) { return token.id < 0; };
    const auto added = tokens.begin() + static_cast<std::ptrdiff_t>(before);
    if (std::none_of(added, tokens.end(), is_missing)) return;
    tokens.resize(before);
  }
  tokens.push_back({whole < 0 ? unknown_ : whole, begin, end});
}

void UnigramModel::encode(std::string_view word, std::vector<Token>& tokens) const {
  require(word.size() < UINT32_MAX, "a word of ", word.size(), " bytes is too long");
  thread_local std::vector<Best> best;
  best.assign(word.size() + 1, {});
  const char* const word_end = word.data() + word.size();
  for (size_t begin = 0, next; begin < word.size(); begin = next) {
    const double score = best[begin].score;
    next = begin + character_length(word[begin]);
    const auto offer = [&](double own, int32_t id, size_t end) {
      Best& known = best[end];
      if (known.id < 0 || score + own > known.score) known = {score + own, id, static_cast<uint32_t>(begin)};
    };
    bool is_spelled = false;
    trie_.for_each_prefix(word.data() + begin, word_end, [&](int32_t id, size_t length) {
      offer(scores_[static_cast<size_t>(id)], id, begin + length);
      is_spelled = is_spelled || begin + length == next;
    });
    if (is_spelled) continue;
    if (unknown_ < 0) {
      const char* place = word.data() + begin;
      fail("the tokenizer's vocabulary has no token for the character ", shown(next_character(place)),
           ", and none for unknown ones");
    }
    offer(unknown_score_, unknown_, next);
  }
  // Tokens are found from the last to the first.
  tokens.clear();
  for (size_t end = word.size(); end > 0;) {
    size_t begin = best[end].begin;
    if (best[end].id != unknown_) {
      tokens.push_back({best[end].id, begin, end});
    } else {
      while (begin > 0 && best[begin].id == unknown_) begin = best[begin].begin;
      spell_unknown(word, begin, end, tokens);
    }
    end = begin;
  }
  std::reverse(tokens.begin(), tokens.end());
}

}  // namespace engine
