// WordPiece (Wu et al. 2016) as in BERT (Devlin et al. 2018): text is normalized and split into words at white space
// and around punctuation. Each word is covered from the left by the longest tokens of the vocabulary. Those behind the
// first are spelled with "##" before them. A word that cannot be covered is the unknown token.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/bert_words.h"
#include "text/normalizer.h"
#include "text/token_trie.h"
#include "text/vocabulary.h"

namespace engine {

struct WordPieceSettings {
  std::string prefix = "##";          // begins tokens that go on with a word
  int64_t longest_word = 100;         // characters; a longer word is unknown
  std::string decoder_prefix = "##";  // begins tokens that are decoded without a space
  bool cleanup = true;                // decoding leaves out the space before . ? ! , 's n't ...
};

class WordPieceTokenizer final : public VocabularyTokenizer {
 public:
  // It is an Error if the vocabulary has no unknown token.
  WordPieceTokenizer(Vocabulary vocabulary, Normalizer normalizer, WordPieceSettings settings);

  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<int32_t>& ids) const override;
  Encoding encode_with_offsets(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override;

 private:
  TokenizerFiles made_files() const override;
  void encode_piece(std::string_view piece, std::vector<int32_t>& ids) const;  // between added tokens
  void encode_piece(std::string_view piece, int32_t first, Encoding& encoding) const;
  void encode_chunk(std::string_view chunk, int32_t first, Encoding& encoding) const;
  void encode_words(std::span<const PlacedCharacter> text, Encoding& encoding) const;
  void encode_word(std::span<const PlacedCharacter> word, Encoding& encoding) const;

  Normalizer normalizer_;
  WordPieceSettings settings_;
  BertChunks chunks_;
  TokenTrie trie_;
  int32_t continuing_;                   // the node behind the prefix, or -1
  std::array<int32_t, 128> byte_ids_{};  // the ids of punctuation
  uint32_t instance_;                    // tells the words of this tokenizer from others' in the caches
};

}  // namespace engine
