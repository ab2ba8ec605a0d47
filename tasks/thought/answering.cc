#include "tasks/thought/answering.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace engine {

namespace {

// A cache of this size holds some hundred short texts of a model of some hundred million parameters.
constexpr int64_t most_cache_bytes = int64_t{1} << 30;
constexpr int64_t most_slots = 256;

int64_t rows_of(const ChoiceQuestion& question) {
  size_t longest = 0;
  for (const std::vector<int32_t>& completion : question.completions) longest = std::max(longest, completion.size());
  return static_cast<int64_t>(question.context.size() + longest) - 1;
}

// The last token of the context predicts a completion's first one, so each completion runs it again. It sees the same
// as in the context's run, whichever way that looks.
struct Completion {
  std::vector<int32_t> tokens, labels;

  Completion(int32_t last_of_context, const std::vector<int32_t>& completion, int32_t thought)
      : tokens{last_of_context}, labels(completion) {
    tokens.insert(tokens.end(), completion.begin(), completion.end() - 1);
    for (int32_t& label : labels)
      if (label == thought) label = -100;
  }
};

// Scores some questions that fit into one decoding state.
void score_some(CachedScorer& scorer, std::span<const ChoiceQuestion> questions, const DecodeSizes& sizes,
                const ChoiceScoring& rule, std::vector<std::vector<double>>& scores) {
  const ArenaScope scope(scorer.arena());
  scorer.begin(sizes);
  std::vector<Completion> completions;
  std::vector<CachedScorer::Piece> contexts, pieces;
  std::vector<CachedScorer::Copy> copies;
  for (const ChoiceQuestion& question : questions)
    for (const std::vector<int32_t>& completion : question.completions)
      completions.emplace_back(question.context.back(), completion, rule.thought);
  int64_t slot = 0;
  for (const ChoiceQuestion& question : questions) {
    const int64_t own = slot, cached = static_cast<int64_t>(question.context.size()) - 1;
    // Seen in one direction, the last token of the context need not be in its run.
    const auto run = std::span(question.context).first(question.context.size() - (rule.prefix_lm ? 0 : 1));
    if (!run.empty()) contexts.push_back({.slot = own, .cached = 0, .tokens = run});
    for (size_t i = 0; i < question.completions.size(); ++i, ++slot) {
      if (slot != own && cached > 0) copies.push_back({.from = own, .to = slot, .rows = cached});
      const Completion& completion = completions[static_cast<size_t>(slot)];
      pieces.push_back({.slot = slot, .cached = cached, .tokens = completion.tokens, .labels = completion.labels});
    }
  }
  CachedScorer::Scores of_contexts, found;
  if (!contexts.empty()) scorer.score(contexts, of_contexts, rule.prefix_lm);
  scorer.copy_slots(copies);
  scorer.score(pieces, found);
  size_t at = 0, piece = 0;
  for (const ChoiceQuestion& question : questions) {
    std::vector<double>& own = scores.emplace_back();
    for (size_t i = 0; i < question.completions.size(); ++i, ++piece) {
      double sum = 0, count = 0;
      for (const int32_t label : completions[piece].labels)
        if (label != -100) sum -= static_cast<double>(found.losses[at++]), ++count;
      own.push_back(sum / count);
    }
  }
}

}  // namespace

std::vector<std::vector<double>> score_completions(CachedScorer& scorer, const ModelConfig& model, DType compute,
                                                   std::span<const ChoiceQuestion> questions,
                                                   const ChoiceScoring& rule) {
  std::vector<std::vector<double>> scores;
  const int64_t row_bytes = 2 * model.num_layers * model.hidden_size * (compute == DType::bf16 ? 2 : 4);
  for (size_t first = 0, last; first < questions.size(); first = last) {
    DecodeSizes sizes;
    for (last = first; last < questions.size(); ++last) {
      const int64_t rows = std::max(sizes.rows, rows_of(questions[last]));
      const int64_t slots = sizes.slots + static_cast<int64_t>(questions[last].completions.size());
      if (last > first && (slots > most_slots || slots * rows * row_bytes > most_cache_bytes)) break;
      sizes.rows = rows;
      sizes.slots = slots;
    }
    score_some(scorer, questions.subspan(first, last - first), sizes, rule, scores);
  }
  return scores;
}

int64_t best_of(std::span<const double> scores) {
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

nlohmann::ordered_json prediction(const ChoiceQuestion& question, std::span<const double> scores,
                                  nlohmann::ordered_json head) {
  head["line"] = question.line;
  if (question.answer >= 0) head["answer"] = question.answer;
  head["choice"] = best_of(scores);
  head["scores"] = scores;
  return head;
}

double loss_of_choice(std::span<const double> scores, int64_t answer) {
  const double highest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores) sum += std::exp(score - highest);
  return highest + std::log(sum) - scores[static_cast<size_t>(answer)];
}

}  // namespace engine
