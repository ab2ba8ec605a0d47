// Examples: from texts of an expression's characters to the tokens that each kind of model reads.
//   a decoder              source <start> answer        in one row
//   encoder and decoder    source <eos>                 for the encoder
//                          <start> answer               for the decoder
// The labels end with <eos>, which no decoder reads. No label is ever <start> or <bos>.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tasks/shared_generation.h"
#include "text/tokenizer.h"
#include "training/batch.h"

namespace engine {

// The beginnings that generation continues, one for each answer. Sources are empty where the model has no encoder.
struct Prompts {
  std::vector<std::vector<int32_t>> tokens, sources;
};

class ExampleFormat {
 public:
  // Throws a UsageError where the tokenizer is not that of arithmetic.
  ExampleFormat(const Tokenizer& tokenizer, const ModelConfig& model, bool reads_source);

  // Appends a sequence. Its labels are the answer from its character scored_from on, and <eos>.
  void append(std::string_view source, std::string_view answer, size_t scored_from, SequenceBatch& batch) const;
  // Appends the prompt of an answer that begins with `prefix`.
  void append_prompt(std::string_view source, std::string_view prefix, Prompts& prompts) const;
  // Returns the characters up to <eos>, without special tokens.
  std::string text_of(std::span<const int32_t> tokens) const;

  // Tells whether the model has positions for such an example.
  bool fits(size_t source_length, size_t answer_length) const;
  // The most characters that source and answer may have together (0 where only each alone counts), and each alone.
  int longest_together() const { return reads_source_ ? 0 : positions_ - 2; }
  int longest_alone() const { return positions_ - 2; }
  bool reads_source() const { return reads_source_; }
  int32_t end_token() const { return end_; }
  int32_t id_of(char c) const { return ids_[static_cast<size_t>(c)]; }

 private:
  void put(std::string_view text, std::vector<int32_t>& tokens) const {
    for (const char c : text) tokens.push_back(id_of(c));
  }

  bool reads_source_;
  int positions_;
  int32_t start_ = 0, end_ = 0;
  std::array<int32_t, 128> ids_{};
  std::vector<char> characters_;  // each token's, 0 for special ones
};

// The texts that the model writes after each prompt, as text_of gives them. All ranks call it, and each generates its
// share of them.
std::vector<std::string> generate_texts(const SharedGenerator& shared, const ExampleFormat& format,
                                        const Prompts& prompts, const GenerationOptions& options);

}  // namespace engine
