// With task = "thought" a decoder learns with thought tokens, which are tokens that give it room to compute and are no
// text. Its data are documents (text_task.h) or problems of several steps (chase_task.h).
#pragma once

#include <memory>
#include <string>

#include "models/cached_scorer.h"
#include "tasks/causal_task.h"
#include "tasks/thought/config.h"

namespace engine {

// A ThoughtTask is what both kinds of data share. The loss of a training is loss(). An evaluation runs the model by
// step_.evaluate, which runs rows as a training does, or by make_scorer and make_generator, which are exact.
class ThoughtTask : public CausalTask {
 protected:
  ThoughtTask(const Config& config, const ThoughtConfig& own, LanguageModel language);

  std::unique_ptr<CachedScorer> make_scorer(Machine& machine) const;
  std::unique_ptr<Generator> make_generator(Machine& machine, int64_t sequences) const;

  const ThoughtConfig own_;
  const int32_t thought_;  // -1: the tokenizer has none
};

std::unique_ptr<Task> make_thought_task(Config& config, const ThoughtConfig& own, const Options& options, Ops& ops,
                                        Use use);

}  // namespace engine
