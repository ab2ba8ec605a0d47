#include "models/bert_keys.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace engine {

using nlohmann::json;

ModelConfig read_bert_keys(const json& config, const std::string& where, const BertKeys& keys) {
  ModelConfig result;
  result.architecture = keys.architecture;
  result.hidden_size = json_integer(config, "hidden_size", where, 1, most_width, keys.hidden_size);
  result.num_layers = json_integer(config, "num_hidden_layers", where, 1, most_layers, keys.num_layers);
  result.num_heads = json_integer(config, "num_attention_heads", where, 1, most_width, keys.num_heads);
  result.ffn_size = json_integer(config, "intermediate_size", where, 1, most_inner, keys.ffn_size);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows, keys.vocab_size);
  result.max_positions = json_integer(config, "max_position_embeddings", where, 1, most_rows, 512);
  result.activation = activation_from_huggingface(json_string(config, "hidden_act", where, "gelu"), where);
  result.dropout = dropout_from_huggingface(config, "hidden_dropout_prob", where, keys.dropout);
  result.attention_dropout =
      dropout_from_huggingface(config, "attention_probs_dropout_prob", where, keys.dropout);
  const bool has_rate = keys.classifier_dropout_rate >= 0;
  result.classifier_dropout =
      dropout_from_huggingface(config, keys.classifier_dropout, where,
                               has_rate ? keys.classifier_dropout_rate : decimal(result.dropout));
  result.layer_norm_epsilon = epsilon_from_huggingface(config, "layer_norm_eps", where, 1e-12);
  result.initializer_range = initializer_range_from_huggingface(config, where);
  result.pad_token = token_from_huggingface(config, "pad_token_id", where, result.vocab_size, keys.pad_token);
  result.labels = labels_from_huggingface(config, where);
  result.pooler = true;
  const std::string positions = json_string(config, "position_embedding_type", where, "absolute");
  if (positions != "absolute")
    fail(where, ": \"position_embedding_type\" is \"", positions.substr(0, 60), "\", it should be \"absolute\"");
  require_option(config, "is_decoder", false, where);
  require_option(config, "add_cross_attention", false, where);
  return result;
}

int64_t read_type_vocab_size(const json& config, const std::string& where) {
  return json_integer(config, "type_vocab_size", where, 1, most_rows, 2);
}

void read_frame_tokens(const json& config, const std::string& where, int32_t begin, int32_t end, ModelConfig& result) {
  result.bos_token = token_from_huggingface(config, "bos_token_id", where, result.vocab_size, begin);
  result.eos_tokens = tokens_from_huggingface(config, "eos_token_id", where, result.vocab_size, end);
}

void write_bert_keys(const ModelConfig& config, const BertKeys& keys, int64_t position_rows, int64_t type_vocab_size,
                     nlohmann::ordered_json& result) {
  result["hidden_size"] = config.hidden_size;
  result["num_hidden_layers"] = config.num_layers;
  result["num_attention_heads"] = config.num_heads;
  result["intermediate_size"] = config.inner_size();
  result["vocab_size"] = config.vocab_size;
  result["max_position_embeddings"] = position_rows;
  result["type_vocab_size"] = type_vocab_size;
  result["hidden_act"] = activation_to_huggingface(config.activation);
  result["hidden_dropout_prob"] = decimal(config.dropout);
  result["attention_probs_dropout_prob"] = decimal(config.attention_dropout);
  result[keys.classifier_dropout] = decimal(config.classifier_dropout);
  result["layer_norm_eps"] = decimal(config.layer_norm_epsilon);
  result["initializer_range"] = decimal(config.initializer_range);
  labels_to_huggingface(config, result);
}

std::vector<TensorNames> bert_names(const std::string& prefix, const std::vector<TensorNames>& head) {
  const std::string layer = prefix + "encoder.layer.*.", ours = "layers.*.";
  std::vector<TensorNames> names{{"embedding.tokens", prefix + "embeddings.word_embeddings.weight"},
                                 {"embedding.positions", prefix + "embeddings.position_embeddings.weight"},
                                 {"embedding.types", prefix + "embeddings.token_type_embeddings.weight"},
                                 {"embedding.norm.gain", prefix + "embeddings.LayerNorm.weight"},
                                 {"embedding.norm.bias", prefix + "embeddings.LayerNorm.bias"}};
  for (const std::string kind : {"weight", "bias"}) {
    int part = 0;
    for (const std::string theirs : {"query.", "key.", "value."})
      names.push_back({ours + "attention.qkv." + kind, layer + "attention.self." + theirs + kind, false, part++, 3});
    names.push_back({ours + "attention.output." + kind, layer + "attention.output.dense." + kind});
    names.push_back({ours + "feed_forward.up." + kind, layer + "intermediate.dense." + kind});
    names.push_back({ours + "feed_forward.down." + kind, layer + "output.dense." + kind});
    names.push_back({"pooler." + kind, prefix + "pooler.dense." + kind});
  }
  for (const auto& [kind, theirs] : {std::pair{"gain", "weight"}, {"bias", "bias"}}) {
    names.push_back({ours + "norm1." + kind, layer + "attention.output.LayerNorm." + theirs});
    names.push_back({ours + "norm2." + kind, layer + "output.LayerNorm." + theirs});
  }
  names.insert(names.end(), head.begin(), head.end());
  return with_span_names(std::move(names));
}

}  // namespace engine
