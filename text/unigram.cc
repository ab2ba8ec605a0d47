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
  int32_t id = -1;     // its last token; -1: none ends here
  size_t begin = 0;    // of the last token
};

std::string byte_token(int byte) {
  constexpr char digits[] = "0123456789ABCDEF";
  return std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">";
}

}  // namespace

UnigramModel::UnigramModel(const Vocabulary& vocabulary, std::vector<double> scores, bool byte_fallback)
    : trie_(vocabulary),
      scores_(std::move(scores)),
      unknown_score_(scores_.empty() ? 0 : *std::min_element(scores_.begin(), scores_.end()) - unknown_penalty),
      unknown_(vocabulary.unknown),
      byte_fallback_(byte_fallback) {
  require(static_cast<int32_t>(scores_.size()) <= vocabulary.size(), "a Unigram model has more scores than tokens");
  for (int byte = 0; byte < 256; ++byte) byte_ids_.push_back(vocabulary.find_in_model(byte_token(byte)));
}

void UnigramModel::spell_unknown(std::span<const char32_t> word, size_t begin, size_t end,
                                 std::vector<Token>& tokens) const {
  // Where scores are far above 0, unknown characters together may be a piece.
  int32_t node = TokenTrie::root;
  for (size_t i = begin; i < end && node >= 0; ++i) node = trie_.child(node, word[i]);
  const int32_t whole = node < 0 ? -1 : trie_.token(node);
  const size_t before = tokens.size();
  if (whole < 0 && byte_fallback_) {
    std::string bytes;
    for (size_t i = begin; i < end; ++i) append_utf8(bytes, word[i]);
    for (size_t i = bytes.size(); i-- > 0;)
      tokens.push_back({byte_ids_[static_cast<unsigned char>(bytes[i])], begin, end});
    const auto is_missing = [](const Token& token) { return token.id < 0; };
    const auto added = tokens.begin() + static_cast<std::ptrdiff_t>(before);
    if (std::none_of(added, tokens.end(), is_missing)) return;
    tokens.resize(before);
  }
  tokens.push_back({whole < 0 ? unknown_ : whole, begin, end});
}

void UnigramModel::encode(std::span<const char32_t> word, std::vector<Token>& tokens) const {
  thread_local std::vector<Best> best;
  best.assign(word.size() + 1, {});
  for (size_t begin = 0; begin < word.size(); ++begin) {
    const double score = best[begin].score;
    const auto offer = [&](double own, int32_t id, size_t end) {
      Best& known = best[end];
      if (known.id < 0 || score + own > known.score) known = {score + own, id, begin};
    };
    int32_t node = TokenTrie::root;
    bool is_spelled = false;
    for (size_t end = begin; end < word.size() && (node = trie_.child(node, word[end])) >= 0; ++end) {
      const int32_t id = trie_.token(node);
      if (id < 0) continue;
      offer(scores_[static_cast<size_t>(id)], id, end + 1);
      is_spelled = is_spelled || end == begin;
    }
    if (is_spelled) continue;
    if (unknown_ < 0)
      fail("the tokenizer's vocabulary has no token for the character ", shown(word[begin]),
           ", and none for unknown ones");
    offer(unknown_score_, unknown_, begin + 1);
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
