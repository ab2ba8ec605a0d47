// The section [gpt] of a task.cfg.
#pragma once

#include <string>

#include "core/options.h"

namespace engine {

struct GptConfig {
  // This part of the training tokens, their end, is for evaluation where data.eval names no file.
  double eval_share = 0;
  int samples = 2;            // texts an evaluation generates
  std::string sample_prompt;  // their beginning, may be empty

  void declare(Options& options);
};

}  // namespace engine
