// A Unigram model (Kudo 2018): each piece has a log probability, and a word is spelled by the pieces with the greatest
// sum, found by Viterbi's algorithm. A character that no piece spells counts 10 less than the worst piece.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/piece_trie.h"
#include "text/vocabulary.h"

namespace engine {

class UnigramModel {
 public:
  struct Token {
    int32_t id;
    size_t begin, end;  // in the word, in bytes
  };

  // Takes the score of each id of the model's own tokens, which come before all others. With byte_fallback unknown
  // characters are spelled by the tokens <0x00> ... <0xFF>, where the vocabulary has all that are needed.
  UnigramModel(const Vocabulary& vocabulary, std::vector<double> scores, bool byte_fallback);

  // Overwrites `tokens` with those of the word. Unknown characters side by side are one unknown token, or the bytes of
  // all of them, each with the place of all. Without an unknown token an unknown character is an Error.
  void encode(std::string_view word, std::vector<Token>& tokens) const;

  const std::vector<double>& scores() const { return scores_; }
  bool byte_fallback() const { return byte_fallback_; }

 private:
  void spell_unknown(std::string_view word, size_t begin, size_t end, std::vector<Token>& tokens) const;

  PieceTrie trie_;
  std::vector<double> scores_;
  double unknown_score_;
  int32_t unknown_;
  bool byte_fallback_;
  std::vector<int32_t> byte_ids_;
};

}  // namespace engine
