#include "models/causal_model.h"

#include "models/bart.h"
#include "models/gpt2.h"

namespace engine {

std::unique_ptr<CausalModel> make_causal_model(const ModelConfig& asked) {
  const ModelConfig config = closed(asked);
  check_sizes(config);
  if (config.architecture == "gpt2") return make_gpt2(config);
  if (config.architecture == "bart") return make_bart(config);
  fail_usage("model.architecture \"", config.architecture, "\" is not a decoder: gpt2 or bart");
}

}  // namespace engine
