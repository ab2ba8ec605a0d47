// A BatchRunner for decoders with thought states (models/thought_recurrence.h). Rows are cut at their thoughts, or run
// several times.
#pragma once

#include "models/thought_recurrence.h"
#include "training/batch_runner.h"

namespace engine {

struct ThoughtRunning {
  bool is_exact = true;   // else several passes
  int64_t passes = 4;     // of which the last one carries the loss
  bool detached = false;  // the gradient goes through the last pass alone
  // The first pass injects the states of an exact run, which has no gradient and no dropout.
  bool begins_exact = false;
};

// The model's config says which token is a thought. Throws an Error where it has no thought states.
std::unique_ptr<BatchRunner> make_thought_runner(Model& model, const ThoughtRunning& running);

}  // namespace engine
