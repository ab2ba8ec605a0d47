// The section [mlm] of a task.cfg.
#pragma once

#include <string>

#include "core/options.h"

namespace engine {

struct MlmConfig {
  std::string masking = "dynamic";  // or static: epoch e has the masks of epoch e % copies
  int64_t copies = 10;
  double mask_share = 0.15;
  bool lines = false;               // a sequence a line, not a block
  bool clean = false;
  double eval_share = 0;            // the same as gpt.eval_share
  int samples = 3;

  void declare(Options& options);
};

}  // namespace engine
