#pragma once

#include "models/config.h"

namespace engine {

struct NeoxOptions final : OptionsOf<NeoxOptions> {
  bool parallel_residual = true;  // attention and feed-forward read the same stream
  bool tied_embeddings = false;   // the token embedding projects to the logits
  bool attention_bias = true;

  void declare(Options& options) override;
};

}  // namespace engine
