// The threshold above which the score of no answer should make the answer empty, as SQuAD 2.0's scorer searches it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tasks/squad/scores.h"

namespace engine {

class NullThresholds {
 public:
  // Adds a question: the score of no answer less that of its best answer, what this answer scores, and whether the
  // question has one.
  void add(double null_odds, const AnswerScore& best_answer, bool has_answer);
  // Returns best_exact, best_exact_threshold, best_f1 and best_f1_threshold. The scores, in percent, are those with the
  // threshold as squad.null_score_diff_threshold: the answers of questions with larger odds are empty.
  std::vector<std::pair<std::string, double>> best() const;

 private:
  struct Row {
    double null_odds, exact, f1;
    bool has_answer;
  };
  std::pair<double, double> search(double Row::*score) const;

  std::vector<Row> rows_;
};

}  // namespace engine
