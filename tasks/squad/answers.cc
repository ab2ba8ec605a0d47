#include "tasks/squad/answers.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "tasks/squad/heat_map.h"
#include "tasks/squad/passages.h"
#include "text/unicode.h"

namespace engine {

namespace {

// Returns the places of the `most` largest logits, the largest first and equal ones from the last to the first, as
// numpy's argsort read backwards gives them.
std::vector<size_t> largest(std::span<const float> logits, size_t column, size_t most) {
  std::vector<size_t> places(logits.size() / 2);
  std::iota(places.begin(), places.end(), size_t{0});
  const size_t kept = std::min(most, places.size());
  const auto is_before = [&](size_t a, size_t b) {
    const float x = logits[2 * a + column], y = logits[2 * b + column];
    return x != y ? x > y : a > b;
  };
  std::partial_sort(places.begin(), places.begin() + static_cast<ptrdiff_t>(kept), places.end(), is_before);
  places.resize(kept);
  return places;
}

// Returns the characters begin ... end-1 of a text.
std::string characters(const std::string& text, int32_t begin, int32_t end) {
  const char *at = text.data(), *const last = at + text.size();
  int32_t place = 0;
  for (; place < begin && at < last; ++place) next_character(at);
  const char* const first = at;
  for (; place < end && at < last; ++place) next_character(at);
  return {first, at};
}

// Sets the text of a candidate, without the spaces around it: tokens of some tokenizers hold the one before a word.
void set_text(const std::string& context, Candidate& candidate) {
  const std::string text = characters(context, candidate.begin, candidate.end);
  const size_t first = std::min(text.find_first_not_of(' '), text.size()), behind = text.find_last_not_of(' ') + 1;
  candidate.text = first < behind ? text.substr(first, behind - first) : "";
  candidate.begin += static_cast<int32_t>(first);
  candidate.end = candidate.text.empty() ? candidate.begin
                                         : candidate.end - static_cast<int32_t>(text.size() - behind);
}

void add_pairs(const EncodedQuestions& questions, const WindowLogits& w, const SquadConfig& config,
               std::vector<Candidate>& candidates) {
  const size_t first = questions.first_of_context(*w.window), tokens = w.window->end - w.window->begin;
  const auto most = static_cast<size_t>(config.n_best_size);
  const auto is_of_context = [&](size_t place) {
    return place >= first && place < first + tokens && !questions.is_place_token(*w.window, place - first);
  };
  const std::vector<size_t> ends = largest(w.logits, 1, most);
  for (const size_t start : largest(w.logits, 0, most)) {
    if (!is_of_context(start)) continue;
    for (const size_t end : ends) {
      if (!is_of_context(end) || end < start || end - start >= static_cast<size_t>(config.max_answer_length)) continue;
      Candidate candidate;
      candidate.begin = questions.offsets(*w.window, start - first).first;
      candidate.end = questions.offsets(*w.window, end - first).second;
      candidate.start_logit = static_cast<double>(w.logits[2 * start]);
      candidate.end_logit = static_cast<double>(w.logits[2 * end + 1]);
      candidate.score = static_cast<double>(w.logits[2 * start] + w.logits[2 * end + 1]);
      candidates.push_back(candidate);
    }
  }
}

void set_probabilities(std::vector<Candidate>& candidates) {
  double sum = 0;
  const double best = std::max_element(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
                        return a.score < b.score;
                      })->score;
  for (Candidate& candidate : candidates) sum += candidate.probability = std::exp(candidate.score - best);
  for (Candidate& candidate : candidates) candidate.probability /= sum;
}

}  // namespace

FoundAnswers find_answers(const EncodedQuestions& questions, std::span<const WindowLogits> windows,
                          const SquadConfig& config) {
  const ModelReading reading{&questions, {windows.begin(), windows.end()}};
  return find_answers(std::span(&reading, 1), config);
}

FoundAnswers find_answers(std::span<const ModelReading> readings, const SquadConfig& config) {
  FoundAnswers found;
  std::vector<Candidate>& all = found.candidates;
  std::optional<Candidate> null;
  const EncodedQuestions& questions = *readings.front().questions;
  if (config.merge == "best") {
    require(readings.size() == 1, "squad.merge = \"best\" takes one model with one stride");
    for (const WindowLogits& w : readings.front().windows) {
      Candidate none;
      none.start_logit = static_cast<double>(w.logits[0]);
      none.end_logit = static_cast<double>(w.logits[1]);
      none.score = static_cast<double>(w.logits[0] + w.logits[1]);
      if (!null || none.score < null->score) null = none;
      add_pairs(questions, w, config, all);
    }
  } else {
    all = heat_map_candidates(readings, config, null.emplace());
  }
  const size_t question = readings.front().windows.front().window->question;
  const std::string& context = questions.set().contexts[questions.set().questions[question].context].text;
  if (config.whole_words) {
    const WordEdges edges(context);
    std::erase_if(all, [&](const Candidate& c) { return !edges.are_whole(c.begin, c.end); });
  }
  // No answer comes last before the sort, so that it stands behind answers with the same score.
  if (config.version_2) all.push_back(*null);
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  const auto is_none = [](const Candidate& candidate) { return candidate.begin == candidate.end; };
  if (all.size() > static_cast<size_t>(config.n_best_size)) all.resize(static_cast<size_t>(config.n_best_size));
  if (config.version_2 && std::none_of(all.begin(), all.end(), is_none)) all.push_back(*null);
  for (Candidate& candidate : all) set_text(context, candidate);
  if (std::all_of(all.begin(), all.end(), [](const Candidate& c) { return c.text.empty(); })) {
    Candidate empty;
    empty.text = "empty";
    all.insert(all.begin(), empty);
  }
  set_probabilities(all);
  const auto best = std::find_if(all.begin(), all.end(), [](const Candidate& c) { return !c.text.empty(); });
  found.best_text = best->text;
  found.null_odds = null->score - best->start_logit - best->end_logit;
  found.text = !config.version_2 ? all[0].text : found.null_odds > config.null_score_diff_threshold ? "" : best->text;
  return found;
}

}  // namespace engine
