#include "tasks/squad/config.h"

namespace engine {

void SquadConfig::declare(Options& options) {
  options.add("squad.max_length", max_length, between(1, 1 << 20),
              "tokens of a window at most: question, a part of the context and the special tokens");
  options.add("squad.doc_stride", doc_stride, between(0, 1 << 20),
              "tokens of the context that a window has in common with the one before it");
  options.add("squad.max_query_length", max_query_length, between(1, 1 << 20),
              "tokens of a question at most; the rest of a longer one is left out");
  options.add("squad.version_2", version_2, "a question may have no answer in its context, as in SQuAD 2.0");
  options.add("squad.null_score_diff_threshold", null_score_diff_threshold, any_value(),
              "the answer is empty where the score of no answer is more than this above the best answer's")
      .needs([this] { return version_2; }, "squad.version_2 = true");
  options.add("squad.n_best_size", n_best_size, between(1, 1000),
              "beginnings and ends of a window that are combined, and answers that are kept");
  options.add("squad.max_answer_length", max_answer_length, between(1, 1 << 20), "tokens of an answer at most");
  options.add("squad.start_weight", start_weight, at_least(0), "weight of the loss of where an answer begins");
  options.add("squad.end_weight", end_weight, at_least(0), "weight of the loss of where an answer ends");
  options.add("squad.negative_weight", negative_weight, at_least(0),
              "weight of the loss of a window that does not hold the answer");
  options.add("squad.samples", samples, at_least(0), "questions that each evaluation shows, half of them mistakes");
}

}  // namespace engine
