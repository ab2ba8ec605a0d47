// Each character (code point) is a token. Special tokens are recognised in texts. If skips_space is set, white space
// has no tokens.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "text/vocabulary.h"

namespace engine {

class CharacterTokenizer final : public VocabularyTokenizer {
 public:
  // Every token of the vocabulary that is not an added one is a single character. An Error names one that is not.
  CharacterTokenizer(Vocabulary vocabulary, bool skips_space);

  // A character outside the vocabulary is its unknown token, or an Error with the character and its place.
  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<int32_t>& ids) const override;
  Encoding encode_with_offsets(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override;

 private:
  TokenizerFiles made_files() const override;
  int32_t id_of_character(char32_t character) const;
  template <class Token>
  void for_each_token(std::string_view text, const Token& token) const;

  bool skips_space_;
  std::array<int32_t, 128> ascii_ids_;
  std::unordered_map<char32_t, int32_t> other_ids_;
};

}  // namespace engine
