#include "models/config.h"

#include "core/error.h"

namespace engine {

ModelConfig closed(ModelConfig config) {
  const bool is_gpt2 = config.architecture == "gpt2";
  const bool is_bert = config.architecture == "bert" || config.architecture == "distilbert";
  const bool as_bart = config.positions != "learned" || config.relative_positions != "none" || config.decoder_layers;
  if (as_bart && config.architecture != "bart")
    fail_usage("model.positions, model.relative_positions and model.decoder_layers are bart's, the model is a ",
               config.architecture);
  if (config.activation == ModelConfig::open_activation) config.activation = is_gpt2 ? "gelu_tanh" : "gelu";
  if (config.layer_norm_epsilon == 0) config.layer_norm_epsilon = is_bert ? 1e-12f : 1e-5f;
  // Folders of these do not say it, so that another one would be lost when the model is saved.
  const bool has_fixed_epsilon = config.architecture == "distilbert" || config.architecture == "bart";
  if (const float epsilon = is_bert ? 1e-12f : 1e-5f; has_fixed_epsilon && config.layer_norm_epsilon != epsilon)
    fail_usage("model.layer_norm_epsilon is ", config.layer_norm_epsilon, ", that of a ", config.architecture, " is ",
               epsilon, ": leave it out");
  if (config.classifier_dropout < 0) config.classifier_dropout = config.dropout;
  if (config.architecture == "bert" && config.type_vocab_size == 0) config.type_vocab_size = 2;
  return config;
}

ModelConfig open_model() {
  ModelConfig config;
  config.activation = ModelConfig::open_activation;
  config.layer_norm_epsilon = 0;
  config.classifier_dropout = -1;
  return config;
}

}  // namespace engine
