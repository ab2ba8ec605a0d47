// The documents of some files as sequences: each document (with the end token behind it) is cut into pieces of at most
// context + 1 tokens, an end that is shorter than min_piece is dropped, and the pieces are packed into rows of context
// + 1 tokens (packing.h). The tokens are in a memory-mapped file. Memory holds about 24 bytes of a piece.
//
// Apart, each piece is a sequence of its own, which sees no other. A pass has no padding, so the rows then only decide
// which pieces a step takes, and that every step has about as many tokens. Joined, a row is one sequence.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/thought/packing.h"
#include "tasks/token_file.h"

namespace engine {

struct DocumentRule {
  int64_t context = 512, min_piece = 30;
  bool joined = false;
};

class PackedDocuments {
 public:
  // The file of tokens is `cache` (token_file.h). An Error where no piece is left.
  PackedDocuments(const std::filesystem::path& cache, const std::vector<std::string>& files,
                  const Tokenizer& tokenizer, const DocumentRule& rule);

  int64_t rows() const { return rows_.rows(); }
  // Calls take(index, tokens) for each sequence of a row, which may change the tokens. Each has an index of its own.
  template <class Take>
  void each_sequence(int64_t row, const Take& take) {
    scratch_.clear();
    const std::span<const int32_t> pieces = rows_.row(row);
    for (const int32_t piece : pieces) {
      append(piece);
      if (rule_.joined) continue;
      take(int64_t{piece}, scratch_);
      scratch_.clear();
    }
    if (rule_.joined) take(row, scratch_);
  }
  // Counts the sequences with fewer tokens.
  int64_t shorter_than(int64_t tokens) const;
  int64_t sequences() const { return rule_.joined ? rows() : pieces(); }
  int64_t pieces() const { return static_cast<int64_t>(begins_.size()); }
  int64_t dropped() const { return dropped_; }    // ends of documents
  std::string report() const;
  const TokenFile& tokens() const { return file_; }

 private:
  void append(int32_t piece);

  DocumentRule rule_;
  TokenFile file_;
  std::vector<int64_t> begins_;   // of each piece
  std::vector<int32_t> lengths_;
  PackedRows rows_;
  int64_t documents_ = 0, dropped_ = 0;
  std::vector<int32_t> scratch_;
};

}  // namespace engine
