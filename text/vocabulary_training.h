// Trains new vocabularies from texts: WordPiece as BERT's, byte-level BPE as GPT-2's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "text/normalizer.h"
#include "text/tokenizer.h"

namespace engine {

struct VocabularyOptions {
  int64_t vocab_size = 30000;      // fewer if the text has no more pairs
  int64_t min_frequency = 2;       // least count of a merged pair
  int64_t most_characters = 1000;  // WordPiece: the most frequent; words with others stay unknown
  bool lowercase = true;           // WordPiece: without capitals and accents
};

class VocabularyTrainer {
 public:
  enum class Kind { wordpiece, bpe };
  VocabularyTrainer(Kind kind, const VocabularyOptions& options);

  // Counts the words of a text, or of a part of it that ends where no word does reach across. Bad UTF-8 is an Error.
  void add(std::string_view text);
  // Makes the tokenizer, which does not depend on the order of the texts. The special tokens come first, then
  // characters (or bytes, each of them) in the order of their code points, then merges by the frequency of their pairs
  // (merge_training.h).
  std::unique_ptr<Tokenizer> train() const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using Counts = std::unordered_map<std::string, int64_t, Hash, std::equal_to<>>;
  static void count(Counts& counts, std::string_view word, int64_t times);
  std::unique_ptr<Tokenizer> train_wordpiece() const;
  std::unique_ptr<Tokenizer> train_bpe() const;

  Kind kind_;
  VocabularyOptions options_;
  Normalizer normalizer_;
  Counts counts_;  // WordPiece: words before normalization
};

}  // namespace engine
