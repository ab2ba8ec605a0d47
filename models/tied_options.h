// The options of models whose logits come from the token embedding or from a table of their own. Which of the two is
// usual depends on the architecture, and so does the option. "tie_word_embeddings" of config.json stands for both.
#pragma once

#include "models/config.h"

namespace engine {

// Serves architectures that usually have a table of their own.
struct TiedOptions final : OptionsOf<TiedOptions> {
  bool tied_embeddings = false;  // the token embedding projects to the logits

  void declare(Options& options) override;
};

// Serves architectures whose token embedding usually projects to the logits.
struct UntiedOptions final : OptionsOf<UntiedOptions> {
  bool untied_embeddings = false;  // a table of their own projects to the logits

  void declare(Options& options) override;
};

// Tells whether the token embedding projects to the logits. It never does in an architecture that has neither option.
bool has_tied_embeddings(const ModelConfig& config);
// Sets the architecture's option, if it has one.
void set_tied_embeddings(ModelConfig& config, bool is_tied);

}  // namespace engine
