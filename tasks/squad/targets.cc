#include "tasks/squad/targets.h"

#include <algorithm>

namespace engine {

namespace {

// Returns j + j^2 for a span that has one end in common with the answer and is `length` tokens long.
double likeness(size_t length, size_t answer_length) {
  const double j = static_cast<double>(std::min(length, answer_length)) /
                   static_cast<double>(std::max(length, answer_length));
  return j + j * j;
}

// Mixes the three parts of a target. y need not be normalised, and may be empty.
std::vector<double> mixed(const WindowShape& window, size_t meant, const std::vector<double>& y,
                          const SoftTargetShares& shares) {
  double sum = 0;
  for (const double value : y) sum += value;
  const double alpha = sum > 0 ? shares.jaccard_alpha : 1;
  std::vector<double> targets(window.tokens, shares.smoothing / static_cast<double>(window.tokens));
  targets[meant] += (1 - shares.smoothing) * alpha;
  for (size_t i = 0; i < y.size(); ++i) targets[i] += (1 - shares.smoothing) * (1 - alpha) * y[i] / (sum > 0 ? sum : 1);
  return targets;
}

bool wants_likeness(const WindowShape& window, const SoftTargetShares& shares) {
  return window.has_answer && shares.jaccard_alpha < 1;
}

}  // namespace

std::vector<double> first_token_targets(const WindowShape& window, const SoftTargetShares& shares) {
  const auto [first, last] = window.answer;
  std::vector<double> y;
  if (wants_likeness(window, shares)) y.assign(window.tokens, 0);
  for (size_t i = window.context.first; !y.empty() && i <= last; ++i) y[i] = likeness(last - i + 1, last - first + 1);
  return mixed(window, first, y, shares);
}

std::vector<double> last_token_targets(const WindowShape& window, const SoftTargetShares& shares) {
  const auto [first, last] = window.answer;
  std::vector<double> y;
  if (wants_likeness(window, shares)) y.assign(window.tokens, 0);
  for (size_t i = first; !y.empty() && i < window.context.second; ++i) y[i] = likeness(i - first + 1, last - first + 1);
  return mixed(window, last, y, shares);
}

}  // namespace engine
