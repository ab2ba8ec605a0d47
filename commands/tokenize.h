// tokenize: the tokens of each line of a file, or a new vocabulary from files.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "text/vocabulary_training.h"

namespace engine {

enum class TokensFormat { jsonl, bin };

struct TokenizeRequest {
  bool special_tokens = false;   // with those around a text
  bool pairs = false;            // a line is text<TAB>text
  size_t max_length = SIZE_MAX;  // most tokens of a line
  TokensFormat format = TokensFormat::jsonl;
};
// {"ids": [...], "offsets": [[begin, end], ...]} for each line of a file, and "type_ids" for pairs. Offsets are in code
// points of a token's own text, those of a special token are [0, 0]. The longer text of a pair is shortened first. An
// error of a line names file and line. A failed write is an Error. In the format bin the ids alone are written,
// those of one line behind those of the line before, each a little-endian int32.
void tokenize_lines(const Tokenizer& tokenizer, const std::string& input_file, const TokenizeRequest& request,
                    std::ostream& out);

struct VocabularyRequest {
  std::string kind;                 // wordpiece or bpe
  std::vector<std::string> inputs;  // texts or .jsonl files
  std::string folder;               // to write the tokenizer to
  VocabularyOptions options;
};
// Makes a new vocabulary from files as the task gpt reads them, and writes it as a tokenizer's folder. `out` gets a
// line about it.
void train_vocabulary(const VocabularyRequest& request, std::ostream& out);

}  // namespace engine
