// New vocabularies from texts: WordPiece as BERT's, byte-level BPE as GPT-2's.
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
  int64_t vocab_size = 30000;      // fewer where the text has no more pairs
  int64_t min_frequency = 2;       // how often a pair of tokens comes that becomes one
  int64_t most_characters = 1000;  // WordPiece: the most frequent; words with others stay unknown
  bool lowercase = true;           // WordPiece: without capitals and accents
};

class VocabularyTrainer {
 public:
  enum class Kind { wordpiece, bpe };
  VocabularyTrainer(Kind kind, const VocabularyOptions& options);

  // Counts the words of a text, or of a part of it that is cut where no word reaches across. Bad UTF-8 is an Error.
  void add(std::string_view text);
  // The same whatever the order of the texts. The special tokens come first, then characters (or bytes, each of them)
  // in the order of their code points, then merges by the frequency of their pairs (merge_training.h).
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
  Counts counts_;  // of WordPiece as they stand in the text: each is normalized but once, at the end
};

}  // namespace engine
