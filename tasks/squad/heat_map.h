// Answers from heat maps: what several windows, window strides and models say of a context is averaged by character,
// so that models with different tokenizers can answer together.
//   logits         start(c) = mean over readers of the mean over the reader's windows that cover character c of the
//                  start logit of the token that holds c; end(c) likewise
//   probabilities  the same with the token's probability among all tokens of its window, and the logarithm of the mean
// The score of characters b ... e is start(b) + end(e). b begins a run of equal values of start, and e ends one of end:
// a token's characters have the same value, and an answer begins with the first and ends with the last. The score of no
// answer is the mean over readers of the least over the reader's windows of their first tokens'.
#pragma once

#include <span>
#include <vector>

#include "tasks/squad/answers.h"

namespace engine {

// A reader is a model with its windows over the questions, which are the same for all readers.
struct ModelReading {
  const EncodedQuestions* questions;
  std::vector<WindowLogits> windows;  // of one question
};

// Returns the candidates of squad.merge = "logits" or "probabilities" for a question, unsorted and without texts, and
// puts the score of no answer into `none`. A candidate has squad.max_answer_length tokens of the first reader at most.
std::vector<Candidate> heat_map_candidates(std::span<const ModelReading> readings, const SquadConfig& config,
                                           Candidate& none);

}  // namespace engine
