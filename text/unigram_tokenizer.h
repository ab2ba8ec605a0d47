// Unigram as in the files of XLM-R, ALBERT, T5 and RemBERT: text is normalized, split at white space, and each word
// begins with a character that spells the space before it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/metaspace.h"
#include "text/normalizer.h"
#include "text/token_decoder.h"
#include "text/unigram.h"
#include "text/vocabulary.h"

namespace engine {

struct UnigramSettings {
  bool drops_spaces = false;           // WhitespaceSplit: words end at white space, which has no tokens
  std::optional<Metaspace> metaspace;  // follows it
  bool byte_fallback = false;
  TokenDecoder decoder = TokenDecoder::metaspace(true);
};

class UnigramTokenizer final : public VocabularyTokenizer {
 public:
  UnigramTokenizer(Vocabulary vocabulary, std::vector<double> scores, Normalizer normalizer, UnigramSettings settings);

  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<int32_t>& ids) const override { encode(text, ids, false); }
  void encode_continued(std::string_view text, std::vector<int32_t>& ids) const override { encode(text, ids, true); }
  bool may_cut(std::string_view text, size_t at) const override;
  Encoding encode_with_offsets(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override;

 private:
  using Text = std::span<PlacedCharacter>;

  TokenizerFiles made_files() const override;
  void encode(std::string_view text, std::vector<int32_t>& ids, bool continues) const;
  // Encode text between added tokens, whose first character is number `first` of the original.
  void encode_piece(std::string_view piece, int32_t first, std::vector<int32_t>& ids) const;
  void encode_chunks(std::string_view piece, int32_t first, std::vector<int32_t>& ids) const;
  template <class Added, class Words>
  void normalize(std::string_view piece, int32_t first, const Added& added, const Words& words) const;
  template <class Word>
  void for_each_word(Text text, const Word& word) const;
  template <class Word>
  void split_at_spaces(Text part, const Word& word) const;
  // A word in UTF-8, before which stands a space that the text does not have if `prefixed`, and its tokens.
  struct Spelled {
    std::string word;
    std::vector<UnigramModel::Token> tokens;
    std::vector<int32_t> ids;  // of them
  };
  const Spelled& spell(Text word, bool prefixed) const;  // as long as no other word is spelled
  void add_tokens(Text word, bool prefixed, Encoding& encoding) const;

  bool ends_chunk(std::string_view piece, const char* place) const;
  const char* chunk_end(std::string_view piece, const char* place) const;
  void find_separators();

  UnigramModel model_;
  Normalizer normalizer_;
  UnigramSettings settings_;
  bool in_chunks_ = false;              // parts between spaces may be encoded alone
  std::array<bool, 256> separates_{};   // these end a part
  uint32_t chunks_, words_;             // tell the chunks and words of this tokenizer from others' in the caches
};

}  // namespace engine
