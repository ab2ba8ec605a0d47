// The config keys and tensor names of LSTMs, model_type "engine_lstm": transformers has none, so both are this engine's
// own. A tensor of a layer is that of torch.nn.LSTM of the same name, the bias the sum of its two.
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "models/huggingface_format.h"

namespace engine {

using nlohmann::json;

namespace {

ModelConfig read_lstm_config(const json& config, const std::string& where) {
  ModelConfig result = open_model();
  result.architecture = "lstm";
  result.hidden_size = json_integer(config, "hidden_size", where, 1, most_width);
  result.num_layers = json_integer(config, "num_layers", where, 1, most_layers);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows);
  result.max_positions = json_integer(config, "max_positions", where, 1, most_rows);
  result.dropout = dropout_from_huggingface(config, "dropout", where, 0);
  result.initializer_range = initializer_range_from_huggingface(config, where);
  result.bos_token = token_from_huggingface(config, "bos_token_id", where, result.vocab_size, -1);
  result.eos_tokens = tokens_from_huggingface(config, "eos_token_id", where, result.vocab_size, -1);
  result.pad_token = token_from_huggingface(config, "pad_token_id", where, result.vocab_size, -1);
  return result;
}

void write_lstm_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  result["hidden_size"] = config.hidden_size;
  result["num_layers"] = config.num_layers;
  result["vocab_size"] = config.vocab_size;
  result["max_positions"] = config.max_positions;
  result["dropout"] = decimal(config.dropout);
  result["initializer_range"] = decimal(config.initializer_range);
}

}  // namespace

const HuggingFaceFormat& lstm_format() {
  static const HuggingFaceFormat format = {
      .architecture = "lstm",
      .model_type = "engine_lstm",
      .classes = {{"EngineLSTMLMHeadModel"}},
      .prefix = "",
      .names = {{"embedding.tokens", "embedding.weight"},
                {"layers.*.input.weight", "lstm.weight_ih_l*"},
                {"layers.*.input.bias", "lstm.bias_l*"},
                {"layers.*.recurrent.weight", "lstm.weight_hh_l*"},
                {"lm_head.weight", "lm_head.weight"}},
      .tied = {{"lm_head.weight", "embedding.weight", "embedding.tokens", /*unless=*/"lm_head.weight"}},
      .read_config = read_lstm_config,
      .write_config = write_lstm_config};
  return format;
}

}  // namespace engine
