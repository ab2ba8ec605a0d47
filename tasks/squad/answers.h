// From the logits of a question's windows to its likeliest answers, as run_qa of transformers does it
// (postprocess_qa_predictions).
#pragma once

#include <optional>
#include <span>

#include "tasks/squad/windows.h"

namespace engine {

// An answer as a place in its context, or no answer.
struct Candidate {
  int32_t begin = 0, end = 0;  // characters of the context; equal: no answer
  std::string text;
  double score = 0, start_logit = 0, end_logit = 0;  // score = start_logit + end_logit
  double probability = 0;                            // softmax of the scores of all candidates
};

struct FoundAnswers {
  std::vector<Candidate> candidates;  // the best first, n_best_size of them at most, one at least
  std::string text;                   // the answer
  std::string best_text;              // the best one that is not empty
  double null_odds = 0;               // score of no answer less that of the best answer
};

// The logits of a question's windows: of each token of each window the start's and the end's.
struct WindowLogits {
  const Window* window;
  std::span<const float> logits;
};

// A reading is one model's windows over a question; see heat_map.h.
struct ModelReading;

// With squad.merge = "best", and one reading, takes, of every window, the n_best_size likeliest beginnings and ends
// over all its tokens, and those pairs of them that lie in the context, in order, max_answer_length tokens at most. The
// score of no answer is the least over the windows of the first token's. With version_2 it is a candidate, and it is
// the answer where it is more than null_score_diff_threshold above the best other one. Where no pair of a window lies
// in the context, a candidate "empty" with the score 0 stands in, as in run_qa. White space around an answer is no part
// of it. With "logits" and "probabilities" candidates come from heat maps of all readings.
FoundAnswers find_answers(std::span<const ModelReading> readings, const SquadConfig& config);
FoundAnswers find_answers(const EncodedQuestions& questions, std::span<const WindowLogits> windows,
                          const SquadConfig& config);

}  // namespace engine
