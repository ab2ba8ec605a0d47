// [gpt] of a task.cfg.
#pragma once

#include <string>

#include "core/options.h"

namespace engine {

struct GptConfig {
  // Where data.eval names no file: this part of the training tokens, their end, is for evaluation.
  double eval_share = 0;
  int samples = 2;            // texts generated at each evaluation
  std::string sample_prompt;  // what they begin with; empty: the start of a document

  void declare(Options& options);
};

}  // namespace engine
