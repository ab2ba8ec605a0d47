// The sequences of text files that a masked language model reads, blocks of the whole text or a line each.
//
// The tokens of the documents (documents.h) are one long row, whose blocks have as many tokens as a sequence has room
// for beside the tokenizer's special tokens. The end of the row is a shorter sequence. A line of text is truncated to
// that many tokens, and lines without a token are skipped. In either case the special tokens stand around it: [CLS] ...
// [SEP].
#pragma once

#include <functional>
#include <memory>

#include "tasks/token_file.h"

namespace engine {

struct SequenceRule {
  int64_t length = 0;  // most tokens, special ones included
  bool lines = false;
  bool clean = false;  // lines are read as cleaned_text
};

// Keeps letters, digits and , . ! ? ' " - of a text, and one space for each run of white space between them.
std::string cleaned_text(std::string_view text);

class Sequences {
 public:
  Sequences() = default;  // no sequences
  // The tokens are kept in `cache` (see TokenFile). The tokenizer stays.
  Sequences(const std::filesystem::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
            const SequenceRule& rule);

  int64_t size() const { return static_cast<int64_t>(begins_.size()); }
  int32_t length(int64_t i) const { return counts_[static_cast<size_t>(i)] + special_; }
  // Appends sequence i, special tokens included.
  void append(int64_t i, std::vector<int32_t>& tokens) const;

  // Counts the sequences that hold no token for which `is_scorable` is true.
  int64_t count_without(const std::function<bool(int32_t)>& is_scorable) const;

  // Moves the last `count` sequences into the result.
  Sequences split_off(int64_t count);
  // Keeps so many of them, spread evenly.
  void keep(int64_t count);

  int64_t skipped() const { return skipped_; }  // lines without a token
  int64_t cut() const { return cut_; }          // truncated lines
  int64_t tokens() const { return file_->size(); }
  uint64_t hash() const { return file_->hash(); }

 private:
  std::shared_ptr<const TokenFile> file_;
  std::vector<int64_t> begins_;  // each sequence's place in the file
  std::vector<int32_t> counts_;  // its tokens there
  const Framing* framing_ = nullptr;
  int32_t special_ = 0;
  int64_t skipped_ = 0, cut_ = 0;
};

}  // namespace engine
