// What the commands that work on text do, behind the command line: each writes to `out`, line by line,
// and an error of a line names file and line. What cannot be written is an Error.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "tasks/embed.h"
#include "tasks/language_model.h"
#include "text/vocabulary_training.h"
#include "training/config.h"

namespace engine {

struct GenerateRequest {
  std::string prompt;      // one prompt, or
  std::string input_file;  // a file with a prompt a line
  GenerationConfig generation;
  uint64_t seed = 1;
};
// One prompt: its text and what follows, as it is generated. A file: {"prompt": ..., "text": ...} a line, in its order.
void generate_text(Machine& machine, LanguageModel& language, const GenerateRequest& request, std::ostream& out);

// {"tokens": n, "log_likelihood": x, "perplexity": p, "log_probability": [...], "rank": [...]} for each line of a file;
// the last two of each token but the first, which is not scored: x is the sum of the log probabilities, and rank 1 the
// token that the model finds likeliest (kernels/sampling/rank.h). A line has at most most_scored_tokens.
void score_lines(Machine& machine, LanguageModel& language, const std::string& input_file, std::ostream& out);

// {"embedding": [...]} for each line of a file. A line that is too long is cut: gives how many were. One without a
// token is an Error.
size_t embed_lines(SentenceEncoder& encoder, const std::string& input_file, std::ostream& out);

struct TokenizeRequest {
  bool special_tokens = false;  // those that the tokenizer puts around a text
  bool pairs = false;           // a line is text<TAB>text
  size_t max_length = SIZE_MAX;  // of what is written; of a pair the longer text is cut first
};
// {"ids": [...], "offsets": [[begin, end], ...]} for each line of a file; of pairs "type_ids", too. Offsets are in code
// points of a token's own text, those of a special token [0, 0].
void tokenize_lines(const Tokenizer& tokenizer, const std::string& input_file, const TokenizeRequest& request,
                    std::ostream& out);

struct VocabularyRequest {
  std::string kind;                 // wordpiece or bpe
  std::vector<std::string> inputs;  // files of text, or .jsonl files, as the task gpt reads them
  std::string folder;               // to write the tokenizer to
  VocabularyOptions options;
};
// A new vocabulary as a tokenizer's folder; `out` gets a line about it.
void train_vocabulary(const VocabularyRequest& request, std::ostream& out);

}  // namespace engine
