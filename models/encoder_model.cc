#include "models/encoder_model.h"

#include "models/bert.h"
#include "models/causal_model.h"
#include "models/sinusoidal_encoder.h"

namespace engine {

void EncoderModel::add_classifier(int64_t width, float deviation) {
  const auto classes = static_cast<int64_t>(config_.labels.size());
  if (classes < 1) fail_usage("a model that classifies needs the names of its classes");
  features_.dropout = parameters_.add_dropout(config_.classifier_dropout);
  const Linear classifier(parameters_, "classifier", width, classes, Initial::normal(deviation));
  projection_ = classifier.weight;
  projection_bias_ = classifier.bias;
}

std::unique_ptr<EncoderModel> make_encoder_model(const ModelConfig& asked) {
  const ModelConfig config = closed(asked);
  check_sizes(config);
  if (config.architecture == "bert" || config.architecture == "distilbert") return make_bert(config);
  if (config.architecture == "sinusoidal_encoder") return make_sinusoidal_encoder(config);
  fail_usage("model.architecture \"", config.architecture,
             "\" is not an encoder: bert, distilbert or sinusoidal_encoder");
}

std::unique_ptr<Model> make_model(const ModelConfig& config) {
  if (config.architecture == "gpt2" || config.architecture == "bart") return make_causal_model(config);
  return make_encoder_model(config);
}

}  // namespace engine
