// Questions of multiple choice in a file of JSON lines: {"context": text, "completions": [text, ...], "answer": index},
// the index counted from 0. Other keys are passed over, and so are blank lines.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config.h"
#include "text/tokenizer.h"

namespace engine {

struct ChoiceQuestion {
  size_t line = 0;  // in its file
  std::vector<int32_t> context;
  std::vector<std::vector<int32_t>> completions;
  int64_t answer = -1;  // -1: the file does not say
};

struct ChoiceFile {
  std::string file, name;  // its path, and its stem
  std::vector<ChoiceQuestion> questions;
  int64_t skipped = 0;  // that are longer than the model
};

struct ChoiceRule {
  int32_t thought = -1;           // -1: there is none
  int64_t before_completion = 0;  // thoughts put before each completion, which become part of it
  bool needs_answers = true;
};

// An empty context becomes the token that begins a document. An Error names file and line where a line is no such
// object, has no completion or an empty one (thoughts do not count), or where the answer is none of them. A question
// whose context with a completion is longer than the model's positions is skipped and counted. An Error where none is
// left.
ChoiceFile read_choices(const std::string& file, const Tokenizer& tokenizer, const ModelConfig& model,
                            const ChoiceRule& rule);

// Reads several files. A UsageError where two have the same stem, after which their metrics are named.
std::vector<ChoiceFile> read_choice_files(const std::vector<std::string>& files, const Tokenizer& tokenizer,
                                              const ModelConfig& model, const ChoiceRule& rule);

// Returns the stems of the files.
std::vector<std::string> question_names(const std::vector<std::string>& files);

}  // namespace engine
