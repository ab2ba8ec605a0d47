// What the model answers to the expressions of evaluation, in three ways of generating:
//   free     from <start> on
//   help     the oracle's scratchpad is given up to the root's "="
//   results  the tree's scratchpad is given but for the values, all of which the model writes (self_writing.h)
// Metrics of each: EM_ (help), EM_freeform_, EM_results_, then all or a level, then _per_sample or _per_batch. Of free
// the whole text counts, of the others the final value. A batch is 4 training.batch_size answers, level after level.
#pragma once

#include "tasks/scratchpad/self_writing.h"
#include "training/task.h"

namespace engine {

enum class Mode { free, help, results };
std::string name_of(Mode mode);
// A UsageError where a name is none, comes twice, or asks for steps that explanation = "none" does not write.
std::vector<Mode> modes_of(const std::vector<std::string>& names, const std::string& explanation);

struct Answer {
  const Expression* expression;
  std::string text, expected;
  bool right = false, whole = false;  // the final value; every character
  std::string tree;                   // of results
};

// The value that a generated text answers with: of a scratchpad the number behind the last "=", without the
// parenthesis that closes it; of anything else all of it.
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

// Answers of level 1, of level 2, ... back to back: where each level begins, and at last their end.
using Levels = std::vector<size_t>;

std::vector<std::string> match_names(Mode mode, int levels);
Metrics match_metrics(Mode mode, const std::vector<Answer>& answers, const Levels& levels, size_t batch_size);
// For the samples: of each level some right and some wrong ones; is_trained(level).
std::string table(const std::vector<Answer>& answers, const Levels& levels,
                  const std::function<bool(int)>& is_trained);
// A line of JSON each.
std::string prediction_lines(Mode mode, const std::vector<Answer>& answers);

}  // namespace engine
