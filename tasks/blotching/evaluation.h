// Evaluation writes solutions of the validation problems, at several levels of blotches and temperatures.
//   correct           share of written rows whose answer, between the last = and the end, is right
//   len_diff          mean of how many characters the last = comes earlier than in the whole solution
//   len_percent       mean of 100 len_diff / its place there
//   generated_tokens  mean tokens of a written solution, its end included
//   vote_correct      share of problems whose most frequent answer of so many is right; the first counts among equals
// With several levels or temperatures, names end in "_p_0.27" and "_t_0.5".
#pragma once

#include "tasks/blotching/solution.h"
#include "tasks/blotching/writing.h"
#include "training/task.h"

namespace engine {

class SolutionEvaluation {
 public:
  // Throws a UsageError where a share or a temperature is no number.
  SolutionEvaluation(const BlotchingConfig& config, const BlotchLevels& levels, const RowFormat& format);

  // The whole solutions of the problems that are evaluated.
  const std::vector<std::string>& rows() const { return rows_; }
  void set_problems(std::span<const std::string> problems);

  const std::vector<int>& levels() const { return evaluated_; }
  // Returns "_p_0.27", or nothing where there is one level.
  std::string name_of_level(int level) const;
  // Names of the metrics that write() gives, in its order.
  std::vector<std::string> names() const;
  // Writes solutions, and appends to the samples and the predictions (JSON lines).
  Metrics write(const SharedGenerator& generator, std::string& samples, std::string& predictions) const;

 private:
  std::string name_of_temperature(double temperature) const;
  Metrics measure(std::span<const std::string> written, const std::string& suffix) const;
  double vote(const SharedGenerator& generator, int level) const;
  void show(std::span<const std::string> written, int level, double temperature, std::string& samples) const;

  const BlotchingConfig& config_;
  const BlotchLevels& levels_;
  const RowFormat& format_;
  std::vector<int> evaluated_;
  std::vector<double> temperatures_;
  int level_digits_ = 2, temperature_digits_ = 6;  // of the names, enough to tell them apart
  std::vector<std::string> problems_, rows_;
  size_t longest_ = 1;  // solution in tokens
};

// Returns the answer that most of the rows have. The one that comes first counts among equals.
std::string_view most_frequent_answer(std::span<const std::string> rows);
// Returns the right row's statements beside those of the written one, each with its phase.
std::string comparison(std::string_view right, std::string_view written);

}  // namespace engine
