// The model answers the expressions of evaluation in three ways of generating.
//   free     begins at <start>
//   help     begins behind the oracle's scratchpad up to the root's "="
//   results  begins with the tree's scratchpad but for the values, all of which the model writes (self_writing.h)
// Metrics of each are EM_ (help), EM_freeform_, EM_results_, then all or a level, then _per_sample or _per_batch. In
// free the whole text counts, in the others the final value. A batch is 4 training.batch_size answers, level after
// level.
#pragma once

#include "tasks/scratchpad/self_writing.h"
#include "training/task.h"

namespace engine {

enum class Mode { free, help, results };
std::string name_of(Mode mode);
// Throws a UsageError where a name is none, comes twice, or needs steps that explanation = "none" does not write.
std::vector<Mode> modes_of(const std::vector<std::string>& names, const std::string& explanation);

struct Answer {
  const Expression* expression;
  std::string text, expected;
  bool right = false, whole = false;  // final value; every character
  std::string tree;                   // tree, in results only
};

// Returns the value that a generated text answers with. In a scratchpad that is the number behind the last "=", without
// the parenthesis that closes it. Any other text is its own value.
std::string final_value(const std::string& generated);

struct Answerer {
  const SharedGenerator& generator;
  const ExampleFormat& format;
  const SelfWriter& writer;
  bool with_steps;  // false: explanation = "none"
  Form form;
  int max_answer_length, max_total_length;

  std::vector<Answer> answer(Mode mode, std::span<const Expression* const> expressions, InnerResults& inner) const;
};

// Answers of level 1, of level 2, ... lie back to back. Levels holds the beginning of each, and at last their end.
using Levels = std::vector<size_t>;

std::vector<std::string> match_names(Mode mode, int levels);
Metrics match_metrics(Mode mode, const std::vector<Answer>& answers, const Levels& levels, size_t batch_size);
// Returns some right and some wrong answers of each level for the samples. is_trained(level) tells trained levels.
std::string table(const std::vector<Answer>& answers, const Levels& levels,
                  const std::function<bool(int)>& is_trained);
// Returns a line of JSON for each answer.
std::string prediction_lines(Mode mode, const std::vector<Answer>& answers);

}  // namespace engine
