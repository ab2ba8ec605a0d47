#include "tasks/squad/null_threshold.h"

#include <algorithm>

namespace engine {

void NullThresholds::add(double null_odds, const AnswerScore& best_answer, bool has_answer) {
  rows_.push_back({null_odds, best_answer.exact_match, best_answer.f1, has_answer});
}

// Begins with a threshold below all odds, with which every answer is empty, and raises it question by question.
std::pair<double, double> NullThresholds::search(double Row::*score) const {
  std::vector<Row> rows = rows_;
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.null_odds < b.null_odds; });
  double sum = 0;
  for (const Row& row : rows) sum += row.has_answer ? 0 : 1;
  double best = sum, threshold = rows.empty() ? 0 : rows.front().null_odds - 1;
  for (size_t i = 0; i < rows.size(); ++i) {
    sum += rows[i].*score - (rows[i].has_answer ? 0 : 1);
    // Questions with equal odds have their answers together.
    if (i + 1 < rows.size() && rows[i + 1].null_odds == rows[i].null_odds) continue;
    if (sum <= best) continue;
    best = sum;
    threshold = rows[i].null_odds;
  }
  return {rows.empty() ? 0 : 100 * best / static_cast<double>(rows.size()), threshold};
}

std::vector<std::pair<std::string, double>> NullThresholds::best() const {
  const auto [exact, exact_threshold] = search(&Row::exact);
  const auto [f1, f1_threshold] = search(&Row::f1);
  return {{"best_exact", exact},
          {"best_exact_threshold", exact_threshold},
          {"best_f1", f1},
          {"best_f1_threshold", f1_threshold}};
}

}  // namespace engine
