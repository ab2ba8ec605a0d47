// Byte-level BPE (Radford et al. 2019): text is split into words (gpt2_words.h), words into bytes, and bytes merge to
// tokens. The vocabulary spells each byte as one printable character, " " as "Ġ".
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/bpe_merges.h"
#include "text/normalizer.h"
#include "text/vocabulary.h"

namespace engine {

class NormalizedPlaces;

// Returns the character that stands for each byte: the byte itself where it is printable in Latin-1, else U+0100 and
// on, in order.
const std::array<char32_t, 256>& byte_characters();
// Finds the bytes that a token spells so. Returns false if it has a character that stands for none.
bool bytes_of_token(std::string_view token, std::string& bytes);

struct ByteBpeSettings {
  bool add_prefix_space = false;  // each text between added tokens begins with a space
  bool whole_words = false;       // a word that is a token stays whole
};

class ByteBpeTokenizer final : public VocabularyTokenizer {
 public:
  ByteBpeTokenizer(Vocabulary vocabulary, BpeMerges merges, ByteBpeSettings settings, Normalizer normalizer = {});

  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<int32_t>& ids) const override { encode(text, ids, false); }
  void encode_continued(std::string_view text, std::vector<int32_t>& ids) const override { encode(text, ids, true); }
  Encoding encode_with_offsets(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override;

 private:
  TokenizerFiles made_files() const override;
  void encode(std::string_view text, std::vector<int32_t>& ids, bool continues) const;
  // Encode text between added tokens. A piece that is not normalized yet may hold added tokens that are looked for in
  // normalized text.
  void encode_piece(std::string_view piece, bool continues, std::vector<int32_t>& ids) const;
  void encode_normalized(std::string_view piece, bool continues, std::vector<int32_t>& ids) const;
  void encode_piece(std::string_view piece, int32_t first, Encoding& encoding) const;
  void encode_normalized(std::string_view piece, NormalizedPlaces& places, Encoding& encoding) const;
  bool needs_space(std::string_view piece) const;
  void encode_words(std::string_view text, std::vector<int32_t>& ids) const;
  void encode_uncached(std::string_view word, std::vector<int32_t>& ids) const;  // overwrites `ids`
  // Writes the tokens of a byte each, before any merge, or the one of a word that stays whole.
  void encode_bytes(std::string_view word, std::vector<int32_t>& ids) const;
  // Appends the tokens of a text, and how many bytes each stands for.
  void encode_measured(std::string_view text, std::vector<int32_t>& ids, std::vector<size_t>& bytes) const;

  BpeMerges merges_;
  ByteBpeSettings settings_;
  Normalizer normalizer_;
  uint32_t instance_;                     // tells the words of this tokenizer from others' in the caches
  std::array<int32_t, 256> byte_ids_;     // -1: the vocabulary has no token for the byte
  bool knows_bytes_;                      // all of them
  std::vector<std::string> token_bytes_;  // each id's bytes
  std::unordered_map<std::string_view, int32_t> whole_words_;
};

}  // namespace engine
