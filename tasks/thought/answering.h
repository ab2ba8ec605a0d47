// Scores the completions of questions: the mean log probability of a completion's tokens that are no thoughts, behind
// its context. The context is run once, and all its completions go on from its keys and values, each in a copy.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "models/cached_scorer.h"
#include "tasks/thought/questions.h"

namespace engine {

struct ChoiceScoring {
  int32_t thought = -1;    // -1: there is none
  bool prefix_lm = false;  // the tokens of a context see those behind them
};

// Returns the score of each completion of each question. Questions are run together as far as their keys and values
// stay within memory for some hundred short ones.
std::vector<std::vector<double>> score_completions(CachedScorer& scorer, const ModelConfig& model, DType compute,
                                                   std::span<const ChoiceQuestion> questions,
                                                   const ChoiceScoring& rule);

// Returns the place of the largest score, the first of equal ones.
int64_t best_of(std::span<const double> scores);
// Returns the cross entropy of the right completion, where the scores are the logits of a choice.
double loss_of_choice(std::span<const double> scores, int64_t answer);
// Returns what is told of a question, its scores and choice behind `head`.
nlohmann::ordered_json prediction(const ChoiceQuestion& question, std::span<const double> scores,
                                  nlohmann::ordered_json head);

}  // namespace engine
