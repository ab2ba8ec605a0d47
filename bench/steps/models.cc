#include "bench/steps/models.h"

#include "models/bart.h"
#include "models/bert.h"

namespace engine {

// Both are one model here. Their peers are plain PyTorch and transformers' BART.
bool is_encoder_decoder(const std::string& model) { return model == "encdec" || model == "bart"; }

ModelConfig config_of(const std::string& model) {
  ModelConfig config;
  if (model == "gpt2") {
    config.hidden_size = 768, config.num_layers = 12, config.num_heads = 12;
    config.vocab_size = 50257, config.max_positions = 1024;
  } else if (model == "neox") {
    config = open_model();
    config.architecture = "gpt_neox";
    config.hidden_size = 768, config.num_layers = 12, config.num_heads = 12;
    config.vocab_size = 50304, config.max_positions = 2048;
  } else if (model == "decoder") {
    config.hidden_size = 256, config.num_layers = 4, config.num_heads = 8;
    config.vocab_size = 64, config.max_positions = 512;
  } else if (model.starts_with("lstm")) {
    config = open_model();
    config.architecture = "lstm";
    config.hidden_size = model == "lstm256" ? 256 : 512;
    config.num_layers = 2, config.vocab_size = 64, config.max_positions = 512;
  } else if (is_encoder_decoder(model)) {
    config = open_model();
    config.architecture = "bart";
    config.hidden_size = 256, config.num_layers = 3, config.num_heads = 8;
    config.vocab_size = 64, config.max_positions = 512;
  } else if (model.starts_with("rembert")) {
    config = open_model();
    config.architecture = "rembert";
    config.hidden_size = 1152, config.num_layers = 32, config.num_heads = 18, config.ffn_size = 4608;
    config.vocab_size = 250300, config.max_positions = 512;
    config.own.get<RemBertOptions>().input_embedding_size = 256;
    config.own.get<RemBertOptions>().output_embedding_size = 1664;
    config.head = model == "rembert" ? HeadKind::masked : HeadKind::classification;
    if (model == "rembert-classes") config.labels = {"0", "1"};
  } else {
    config = open_model();
    config.architecture = "bert";
    config.hidden_size = model == "bert" ? 768 : 384;
    config.num_layers = model == "bert" ? 12 : 6;
    config.num_heads = 12;
    config.vocab_size = 30522, config.max_positions = 512;
    config.head = model == "bert" ? HeadKind::masked : HeadKind::classification;
    if (model == "minilm") config.labels = {"0", "1"};
    config.classifier_dropout = 0;
  }
  return config;
}

}  // namespace engine
