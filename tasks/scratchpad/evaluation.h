// The model's answers to the expressions of evaluation, in three ways of generating:
//   free     from <start> on
//   help     the oracle's scratchpad is given up to the root's "="
//   results  the tree's scratchpad is given but for the values, all of which the model writes (self_writing.h)
// Each has metrics EM_ (help), EM_freeform_ or EM_results_, then all or a level, then _per_sample or _per_batch. The
// whole text counts in free, the final value in the others. A batch is 4 training.batch_size answers, level after
// level.
#pragma once

#include "tasks/scratchpad/self_writing.h"
#include "training/task.h"

namespace engine {

enum class Mode { free, help, results };
std::string name_of(Mode mode);
// A UsageError for a name that is unknown, comes twice, or needs steps that explanation = "none" does not write.
std::vector<Mode> modes_of(const std::vector<std::string>& names, const std::string& explanation);

struct Answer {
  const Expression* expression;
  std::string text, expected;
  bool right = false, whole = false;  // the final value, every character
  std::string tree;                   // drawn, in results
};

// The value that a generated text answers with: the number behind the last "=" of a scratchpad, without the parenthesis
// that closes it, and all of any other text.
std::string final_value(const std::string& generated);

struct Answerer {
  const SharedGenerator& generator;
  const ExampleFormat& format;
  const SelfWriter& writer;
  bool with_steps;  // explanation is not "none"
  Form form;
  int max_answer_length, max_total_length;
  GenerationOptions generation;  // free and help, without their limit of tokens

  std::vector<Answer> answer(Mode mode, std::span<const Expression* const> expressions, InnerResults& inner) const;
};

// The places in a list of answers, level after level, at which each level begins, and the end of the list.
using Levels = std::vector<size_t>;

std::vector<std::string> match_names(Mode mode, int levels);
Metrics match_metrics(Mode mode, const std::vector<Answer>& answers, const Levels& levels, size_t batch_size);
// A table for the samples with some right and some wrong answers of each level.
std::string table(const std::vector<Answer>& answers, const Levels& levels,
                  const std::function<bool(int)>& is_trained);
// A line of JSON for each answer.
std::string prediction_lines(Mode mode, const std::vector<Answer>& answers);

}  // namespace engine
