// The option of decoders whose logits come from the token embedding or from a table of their own.
#pragma once

#include "models/config.h"

namespace engine {

struct TiedOptions final : OptionsOf<TiedOptions> {
  bool tied_embeddings = false;  // the token embedding projects to the logits

  void declare(Options& options) override {
    options.add("model.tied_embeddings", tied_embeddings,
                "gpt_neox and lstm: the token embedding also projects to the logits; false: a table of their own does");
  }
};

}  // namespace engine
