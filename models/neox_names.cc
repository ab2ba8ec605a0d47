// GPTNeoXForCausalLM's config keys and tensor names.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "models/huggingface_format.h"
#include "models/neox.h"
#include "models/positions.h"

namespace engine {

using nlohmann::json;

namespace {

// Requires a key that transformers passes over, if it is there, to have the value that counts.
void require_same(const json& config, const char* key, double value, const std::string& where) {
  const double found = json_number(config, key, where, value);
  if (found != value)
    fail(where, ": \"", key, "\" is ", found, ", but transformers reads ", value, " of other keys: leave it out");
}

// Reads "rope_parameters", as transformers 5 writes it, "rope_scaling", which counts before it, and the older
// "rotary_pct" and "rotary_emb_base".
void read_rotary(const json& config, const std::string& where, ModelConfig& result) {
  const auto object_of = [&](const char* key) {
    if (!json_has(config, key, where)) return json::object();
    if (!config[key].is_object()) fail(where, ": \"", key, "\" should be an object");
    return config[key];
  };
  const json scaling = object_of("rope_scaling"), parameters = object_of("rope_parameters");
  const char* const key = scaling.empty() ? "rope_parameters" : "rope_scaling";
  const json& rope = scaling.empty() ? parameters : scaling;
  const std::string inside = where + ": " + key;
  const std::string type = json_string(rope, "rope_type", inside, json_string(rope, "type", inside, "default").c_str());
  if (type != "default")
    fail(where, ": \"", key, "\" is of the type \"", type.substr(0, 60), "\", which is not supported: default");
  auto& own = result.own.get<RotaryOptions>();
  own.share = json_number(rope, "partial_rotary_factor", inside, json_number(config, "rotary_pct", where, 0.25));
  const double base = json_number(rope, "rope_theta", inside, json_number(config, "rotary_emb_base", where, 10000));
  own.base = static_cast<float>(base);
  require_same(config, "partial_rotary_factor", own.share, where);
  require_same(config, "rope_theta", base, where);
  require_same(config, "head_dim", static_cast<double>(result.hidden_size / result.num_heads), where);
}

// Keys that are absent have the values that the transformers library's GPTNeoXConfig gives them.
ModelConfig read_neox_config(const json& config, const std::string& where) {
  ModelConfig result;
  result.architecture = "gpt_neox";
  result.hidden_size = json_integer(config, "hidden_size", where, 1, most_width, 6144);
  result.num_layers = json_integer(config, "num_hidden_layers", where, 1, most_layers, 44);
  result.num_heads = json_integer(config, "num_attention_heads", where, 1, most_width, 64);
  result.ffn_size = json_integer(config, "intermediate_size", where, 1, most_inner, 24576);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows, 50432);
  result.max_positions = json_integer(config, "max_position_embeddings", where, 1, most_rows, 2048);
  result.activation = activation_from_huggingface(json_string(config, "hidden_act", where, "gelu"), where);
  result.dropout = dropout_from_huggingface(config, "hidden_dropout", where, 0);
  result.attention_dropout = dropout_from_huggingface(config, "attention_dropout", where, 0);
  result.layer_norm_epsilon = epsilon_from_huggingface(config, "layer_norm_eps", where, 1e-5);
  result.initializer_range = initializer_range_from_huggingface(config, where);
  result.bos_token = token_from_huggingface(config, "bos_token_id", where, result.vocab_size, 0);
  result.eos_tokens = tokens_from_huggingface(config, "eos_token_id", where, result.vocab_size, 2);
  result.pad_token = token_from_huggingface(config, "pad_token_id", where, result.vocab_size, -1);
  auto& own = result.own.get<NeoxOptions>();
  own.parallel_residual = json_bool(config, "use_parallel_residual", where, true);
  own.attention_bias = json_bool(config, "attention_bias", where, true);
  read_rotary(config, where, result);
  return result;
}

void write_neox_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  const auto& own = config.own.get<NeoxOptions>();
  const auto& rotary = config.own.get<RotaryOptions>();
  result["hidden_size"] = config.hidden_size;
  result["num_hidden_layers"] = config.num_layers;
  result["num_attention_heads"] = config.num_heads;
  result["intermediate_size"] = config.inner_size();
  result["vocab_size"] = config.vocab_size;
  result["max_position_embeddings"] = config.max_positions;
  result["hidden_act"] = activation_to_huggingface(config.activation);
  result["hidden_dropout"] = decimal(config.dropout);
  result["attention_dropout"] = decimal(config.attention_dropout);
  result["layer_norm_eps"] = decimal(config.layer_norm_epsilon);
  result["initializer_range"] = decimal(config.initializer_range);
  result["use_parallel_residual"] = own.parallel_residual;
  result["attention_bias"] = own.attention_bias;
  result["rope_parameters"] = {{"partial_rotary_factor", rotary.share},
                               {"rope_theta", decimal(rotary.base)},
                               {"rope_type", "default"}};
  result["rotary_pct"] = rotary.share;  // for transformers before 5
  result["rotary_emb_base"] = decimal(rotary.base);
  result["use_cache"] = true;
}

std::vector<TensorNames> neox_names() {
  std::vector<TensorNames> names{{"embedding.tokens", "gpt_neox.embed_in.weight"},
                                 {"final_norm.gain", "gpt_neox.final_layer_norm.weight"},
                                 {"final_norm.bias", "gpt_neox.final_layer_norm.bias"},
                                 {"lm_head.weight", "embed_out.weight"}};
  const std::string ours = "layers.*.", theirs = "gpt_neox.layers.*.";
  for (const auto& [norm, their_norm] :
       {std::pair{"norm1", "input_layernorm"}, {"norm2", "post_attention_layernorm"}}) {
    names.push_back({ours + norm + ".gain", theirs + their_norm + ".weight"});
    names.push_back({ours + norm + ".bias", theirs + their_norm + ".bias"});
  }
  for (const char* kind : {".weight", ".bias"}) {
    names.push_back({.ours = ours + "attention.qkv" + kind,
                     .theirs = theirs + "attention.query_key_value" + kind,
                     .by_head = true});
    names.push_back({ours + "attention.output" + kind, theirs + "attention.dense" + kind});
    names.push_back({ours + "feed_forward.up" + kind, theirs + "mlp.dense_h_to_4h" + kind});
    names.push_back({ours + "feed_forward.down" + kind, theirs + "mlp.dense_4h_to_h" + kind});
  }
  return names;
}

}  // namespace

const HuggingFaceFormat& gpt_neox_format() {
  static const HuggingFaceFormat format = {
      .architecture = "gpt_neox",
      .model_type = "gpt_neox",
      .classes = {{"GPTNeoXForCausalLM"}},
      .prefix = "gpt_neox.",
      .names = neox_names(),
      // The table for the logits has two names. A tied model has none.
      .tied = {{"lm_head.weight", "embed_out.weight", "lm_head.weight"},
               {"embed_out.weight", "gpt_neox.embed_in.weight", "embedding.tokens", /*unless=*/"lm_head.weight"},
               {"lm_head.weight", "gpt_neox.embed_in.weight", "embedding.tokens", /*unless=*/"lm_head.weight"}},
      .buffers = {"gpt_neox.layers.*.attention.bias", "gpt_neox.layers.*.attention.masked_bias",
                  "gpt_neox.layers.*.attention.rotary_emb.inv_freq", "gpt_neox.rotary_emb.inv_freq"},
      .read_config = read_neox_config,
      .write_config = write_neox_config};
  return format;
}

}  // namespace engine
