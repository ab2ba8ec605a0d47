#include "tasks/squad/heat_map.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "text/unicode.h"

namespace engine {

namespace {

// A sum for each character of a context, and of how many terms.
struct Heat {
  std::vector<double> start, end;
  std::vector<int> count;

  explicit Heat(size_t characters) : start(characters), end(characters), count(characters) {}
};

// Returns ln sum exp of a column of a window's logits.
double log_sum(std::span<const float> logits, size_t column) {
  double most = -INFINITY, sum = 0;
  for (size_t i = column; i < logits.size(); i += 2) most = std::max(most, static_cast<double>(logits[i]));
  for (size_t i = column; i < logits.size(); i += 2) sum += std::exp(static_cast<double>(logits[i]) - most);
  return most + std::log(sum);
}

// Adds a window's values to its characters. Returns the score of no answer.
double add_window(const ModelReading& reading, const WindowLogits& w, bool are_probabilities, Heat& heat) {
  const EncodedQuestions& questions = *reading.questions;
  const size_t first = questions.first_of_context(*w.window);
  const double sums[2] = {are_probabilities ? log_sum(w.logits, 0) : 0, are_probabilities ? log_sum(w.logits, 1) : 0};
  const auto value = [&](size_t token, size_t column) {
    const double logit = static_cast<double>(w.logits[2 * token + column]) - sums[column];
    return are_probabilities ? std::exp(logit) : logit;
  };
  for (size_t token = 0; token < w.window->end - w.window->begin; ++token) {
    if (questions.is_place_token(*w.window, token)) continue;
    const auto [begin, end] = questions.offsets(*w.window, token);
    for (auto c = static_cast<size_t>(begin); c < std::min(static_cast<size_t>(end), heat.count.size()); ++c) {
      heat.start[c] += value(first + token, 0);
      heat.end[c] += value(first + token, 1);
      ++heat.count[c];
    }
  }
  return static_cast<double>(w.logits[0]) + static_cast<double>(w.logits[1]) - sums[0] - sums[1];
}

void add_means(const Heat& one, Heat& all) {
  for (size_t c = 0; c < one.count.size(); ++c) {
    if (one.count[c] == 0) continue;
    all.start[c] += one.start[c] / one.count[c];
    all.end[c] += one.end[c] / one.count[c];
    ++all.count[c];
  }
}

// Returns the `most` characters of the largest values that begin (step -1: the neighbour before differs) or end (1) a
// run of equal ones, the largest first.
std::vector<size_t> best_of_runs(const std::vector<double>& values, const std::vector<int>& count, int step,
                                 size_t most) {
  std::vector<size_t> places;
  for (size_t c = 0; c < values.size(); ++c) {
    if (count[c] == 0) continue;
    const size_t other = c + static_cast<size_t>(step);  // wraps to a place that is no character
    if (other >= values.size() || count[other] == 0 || values[other] != values[c]) places.push_back(c);
  }
  const size_t kept = std::min(most, places.size());
  std::partial_sort(places.begin(), places.begin() + static_cast<ptrdiff_t>(kept), places.end(),
                    [&](size_t a, size_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  places.resize(kept);
  return places;
}

}  // namespace

std::vector<Candidate> heat_map_candidates(std::span<const ModelReading> readings, const SquadConfig& config,
                                           Candidate& none) {
  const ModelReading& first = readings.front();
  const QuestionSet& set = first.questions->set();
  const size_t context = set.questions[first.windows.front().window->question].context;
  const size_t characters = count_characters(set.contexts[context].text);
  const bool are_probabilities = config.merge == "probabilities";
  Heat all(characters);
  none = {};
  for (const ModelReading& reading : readings) {
    Heat own(characters);
    double least = INFINITY;
    for (const WindowLogits& w : reading.windows)
      least = std::min(least, add_window(reading, w, are_probabilities, own));
    add_means(own, all);
    none.score += least / static_cast<double>(readings.size());
  }
  none.start_logit = none.score;
  for (size_t c = 0; c < characters; ++c) {
    if (all.count[c] == 0) continue;
    for (double* value : {&all.start[c], &all.end[c]}) {
      *value /= all.count[c];
      if (are_probabilities) *value = std::log(std::max(*value, 1e-300));
    }
  }
  // begun[c] is the number of the first reader's tokens that begin before character c.
  std::vector<int> begun(characters + 1);
  for (const auto& [begin, end] : first.questions->context_offsets(context))
    if (static_cast<size_t>(begin) < characters && end > begin) ++begun[static_cast<size_t>(begin) + 1];
  std::partial_sum(begun.begin(), begun.end(), begun.begin());
  std::vector<Candidate> candidates;
  const auto most = static_cast<size_t>(config.n_best_size);
  const std::vector<size_t> ends = best_of_runs(all.end, all.count, 1, most);
  for (const size_t start : best_of_runs(all.start, all.count, -1, most))
    for (const size_t end : ends) {
      if (end < start || begun[end + 1] - begun[start] > config.max_answer_length) continue;
      Candidate candidate;
      candidate.begin = static_cast<int32_t>(start);
      candidate.end = static_cast<int32_t>(end) + 1;
      candidate.start_logit = all.start[start];
      candidate.end_logit = all.end[end];
      candidate.score = candidate.start_logit + candidate.end_logit;
      candidates.push_back(candidate);
    }
  return candidates;
}

}  // namespace engine
