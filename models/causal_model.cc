#include "models/causal_model.h"

#include "models/gpt2.h"

namespace engine {

std::unique_ptr<CausalModel> make_causal_model(const ModelConfig& config) {
  check_sizes(config);
  if (config.architecture == "gpt2") return make_gpt2(config);
  fail_usage("model.architecture \"", config.architecture, "\" is not a decoder: gpt2");
}

}  // namespace engine
