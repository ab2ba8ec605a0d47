// [mlm] of a task.cfg has these options.
#pragma once

#include <string>

#include "core/options.h"

namespace engine {

struct MlmConfig {
  std::string masking = "dynamic";  // static: epoch e has the masks of epoch e % copies
  int64_t copies = 10;
  double mask_share = 0.15;
  bool lines = false;               // each line of text is a sequence, else blocks of the whole text
  bool clean = false;
  double eval_share = 0;            // as gpt.eval_share
  int samples = 3;

  void declare(Options& options);
};

}  // namespace engine
