// A masked language model reads sequences of text files, which are blocks of the whole text, or a line each.
//
// For blocks, the tokenised documents (documents.h) are one long row. It is divided into pieces of as many tokens as a
// sequence has room for beside the tokenizer's special tokens, and the rest at the end is a shorter sequence. For
// lines, each line of text is cut to that many tokens, and lines without a token are skipped. In either case the
// special tokens stand around it as [CLS] ... [SEP].
#pragma once

#include <memory>

#include "tasks/token_file.h"

namespace engine {

struct SequenceRule {
  int64_t length = 0;  // most tokens of a sequence, special ones included
  bool lines = false;
  bool clean = false;  // reads cleaned_text of each line
};

// Removes characters other than letters, digits, white space and , . ! ? ' " - and makes each run of white space one
// space. There is none at the ends.
std::string cleaned_text(std::string_view text);

class Sequences {
 public:
  Sequences() = default;  // without sequences
  // Keeps the tokens in `cache` (see TokenFile). The tokenizer must outlive this.
  Sequences(const std::filesystem::path& cache, const std::vector<std::string>& files, const Tokenizer& tokenizer,
            const SequenceRule& rule);

  int64_t size() const { return static_cast<int64_t>(begins_.size()); }
  int32_t length(int64_t i) const { return counts_[static_cast<size_t>(i)] + special_; }
  // Appends sequence i, special tokens included.
  void append(int64_t i, std::vector<int32_t>& tokens) const;

  // Removes the last `count` sequences and returns them.
  Sequences split_off(int64_t count);
  // Keeps so many of them, spread evenly.
  void keep(int64_t count);

  int64_t skipped() const { return skipped_; }  // lines without a token
  int64_t cut() const { return cut_; }          // lines that were longer
  int64_t tokens() const { return file_->size(); }
  uint64_t hash() const { return file_->hash(); }

 private:
  std::shared_ptr<const TokenFile> file_;
  std::vector<int64_t> begins_;  // each sequence's beginning in the file
  std::vector<int32_t> counts_;  // tokens of each sequence
  const Framing* framing_ = nullptr;
  int32_t special_ = 0;
  int64_t skipped_ = 0, cut_ = 0;
};

}  // namespace engine
