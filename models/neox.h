#pragma once

#include "models/config.h"

namespace engine {

struct NeoxOptions final : OptionsOf<NeoxOptions> {
  bool parallel_residual = true;  // attention and feed-forward read the same stream
  bool attention_bias = true;

  void declare(Options& options) override;
};

}  // namespace engine
