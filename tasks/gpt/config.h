// [gpt] of a task.cfg has these options.
#pragma once

#include <string>

#include "core/options.h"

namespace engine {

struct GptConfig {
  // Without data.eval, this share of the training tokens, taken from their end, is for evaluation.
  double eval_share = 0;
  int samples = 2;            // texts generated at each evaluation
  std::string sample_prompt;  // beginning of these texts; empty: a document's start

  void declare(Options& options);
};

}  // namespace engine
