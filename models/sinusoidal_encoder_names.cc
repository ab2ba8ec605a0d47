// The config keys and tensor names of this engine's own encoder, model_type "sinusoidal_encoder": transformers has none
// like it, so both are the engine's own.
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "models/huggingface_format.h"
#include "models/sinusoidal_encoder.h"

namespace engine {

using nlohmann::json;

namespace {

ModelConfig read_sinusoidal_config(const json& config, const std::string& where) {
  ModelConfig result;
  result.architecture = "sinusoidal_encoder";
  result.hidden_size = json_integer(config, "hidden_size", where, 1, most_width);
  result.num_layers = json_integer(config, "num_layers", where, 1, most_layers);
  result.num_heads = json_integer(config, "num_heads", where, 1, most_width);
  result.ffn_size = json_integer(config, "ffn_size", where, 1, most_inner);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows);
  result.max_positions = json_integer(config, "max_positions", where, 1, most_rows);
  result.activation = activation_from_huggingface(json_string(config, "activation", where), where);
  result.dropout = dropout_from_huggingface(config, "dropout", where, 0);
  result.attention_dropout = dropout_from_huggingface(config, "attention_dropout", where, 0);
  result.classifier_dropout = dropout_from_huggingface(config, "classifier_dropout", where, 0);
  result.layer_norm_epsilon = epsilon_from_huggingface(config, "layer_norm_epsilon", where, 1e-5);
  result.initializer_range = initializer_range_from_huggingface(config, where);
  result.pad_token = token_from_huggingface(config, "pad_token_id", where, result.vocab_size, -1);
  result.own.get<SinusoidalOptions>().doubled_position_angles =
      json_bool(config, "doubled_position_angles", where, false);
  result.labels = labels_from_huggingface(config, where);
  return result;
}

void write_sinusoidal_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  result["hidden_size"] = config.hidden_size;
  result["num_layers"] = config.num_layers;
  result["num_heads"] = config.num_heads;
  result["ffn_size"] = config.inner_size();
  result["vocab_size"] = config.vocab_size;
  result["max_positions"] = config.max_positions;
  result["activation"] = activation_to_huggingface(config.activation);
  result["dropout"] = decimal(config.dropout);
  result["attention_dropout"] = decimal(config.attention_dropout);
  result["classifier_dropout"] = decimal(config.classifier_dropout);
  result["layer_norm_epsilon"] = decimal(config.layer_norm_epsilon);
  result["initializer_range"] = decimal(config.initializer_range);
  result["doubled_position_angles"] = config.own.get<SinusoidalOptions>().doubled_position_angles;
  labels_to_huggingface(config, result);
}

}  // namespace

const HuggingFaceFormat& sinusoidal_encoder_format() {
  static const HuggingFaceFormat format = {
      .architecture = "sinusoidal_encoder",
      .model_type = "sinusoidal_encoder",
      .classes = {{"SinusoidalEncoderModel", HeadKind::none},
                  {"SinusoidalEncoderForMaskedLM", HeadKind::masked},
                  {"SinusoidalEncoderForSequenceClassification", HeadKind::classification}},
      .prefix = "",
      .names = {{"embedding.tokens", "embedding.tokens.weight"},
                {"layers.*.norm1.gain", "layers.*.norm1.weight"},
                {"layers.*.norm1.bias", "layers.*.norm1.bias"},
                {"layers.*.attention.qkv.weight", "layers.*.attention.qkv.weight"},
                {"layers.*.attention.qkv.bias", "layers.*.attention.qkv.bias"},
                {"layers.*.attention.output.weight", "layers.*.attention.output.weight"},
                {"layers.*.attention.output.bias", "layers.*.attention.output.bias"},
                {"layers.*.norm2.gain", "layers.*.norm2.weight"},
                {"layers.*.norm2.bias", "layers.*.norm2.bias"},
                {"layers.*.feed_forward.up.weight", "layers.*.feed_forward.up.weight"},
                {"layers.*.feed_forward.up.bias", "layers.*.feed_forward.up.bias"},
                {"layers.*.feed_forward.down.weight", "layers.*.feed_forward.down.weight"},
                {"layers.*.feed_forward.down.bias", "layers.*.feed_forward.down.bias"},
                {"masked_head.norm.gain", "masked_head.norm.weight"},
                {"masked_head.norm.bias", "masked_head.norm.bias"},
                {"masked_head.projection.weight", "masked_head.projection.weight"},
                {"masked_head.projection.bias", "masked_head.projection.bias"},
                {"classifier.weight", "classifier.weight"},
                {"classifier.bias", "classifier.bias"}},
      .read_config = read_sinusoidal_config,
      .write_config = write_sinusoidal_config};
  return format;
}

}  // namespace engine
