// GPT2LMHeadModel's config keys and tensor names. Models with other positions than GPT-2's get this engine's own
// model_type "engine_gpt2", which transformers does not know: it adds the keys of the positions.
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "models/gpt2.h"
#include "models/huggingface_format.h"
#include "models/positions.h"

namespace engine {

using nlohmann::json;

namespace {

// Keys that are absent have the values that the transformers library's GPT2Config gives them.
ModelConfig read_gpt2_config(const json& config, const std::string& where) {
  ModelConfig result;
  result.architecture = "gpt2";
  result.hidden_size = json_integer(config, "n_embd", where, 1, most_width, 768);
  result.num_layers = json_integer(config, "n_layer", where, 1, most_layers, 12);
  result.num_heads = json_integer(config, "n_head", where, 1, most_width, 12);
  result.ffn_size = json_integer(config, "n_inner", where, 1, most_inner, 0);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows, 50257);
  const int64_t context = json_integer(config, "n_ctx", where, 1, most_rows, 1024);
  result.max_positions = json_integer(config, "n_positions", where, 1, most_rows, context);
  result.activation = activation_from_huggingface(json_string(config, "activation_function", where, "gelu_new"), where);
  result.dropout = dropout_from_huggingface(config, "resid_pdrop", where, 0.1);
  result.own.get<Gpt2Options>().embedding_dropout = dropout_from_huggingface(config, "embd_pdrop", where, 0.1);
  result.attention_dropout = dropout_from_huggingface(config, "attn_pdrop", where, 0.1);
  result.layer_norm_epsilon = epsilon_from_huggingface(config, "layer_norm_epsilon", where, 1e-5);
  result.initializer_range = initializer_range_from_huggingface(config, where);
  result.bos_token = token_from_huggingface(config, "bos_token_id", where, result.vocab_size, 50256);
  result.eos_tokens = tokens_from_huggingface(config, "eos_token_id", where, result.vocab_size, 50256);
  result.pad_token = token_from_huggingface(config, "pad_token_id", where, result.vocab_size, -1);
  require_option(config, "scale_attn_weights", true, where);
  require_option(config, "scale_attn_by_inverse_layer_idx", false, where);
  require_option(config, "add_cross_attention", false, where);
  return result;
}

void write_gpt2_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  result["n_embd"] = config.hidden_size;
  result["n_layer"] = config.num_layers;
  result["n_head"] = config.num_heads;
  result["n_inner"] = config.inner_size() == 4 * config.hidden_size ? json(nullptr) : json(config.inner_size());
  result["vocab_size"] = config.vocab_size;
  result["n_positions"] = config.max_positions;
  result["n_ctx"] = config.max_positions;
  result["activation_function"] = activation_to_huggingface(config.activation);
  result["embd_pdrop"] = decimal(config.own.get<Gpt2Options>().rate_of_embeddings(config));
  result["resid_pdrop"] = decimal(config.dropout);
  result["attn_pdrop"] = decimal(config.attention_dropout);
  result["layer_norm_epsilon"] = decimal(config.layer_norm_epsilon);
  result["initializer_range"] = decimal(config.initializer_range);
  result["scale_attn_weights"] = true;
  result["scale_attn_by_inverse_layer_idx"] = false;
  result["use_cache"] = true;
}

bool has_gpt2_positions(const ModelConfig& config) {
  return config.own.get<PositionOptions>().positions == "learned" &&
         config.own.get<PositionTableOptions>().dropout == 0;
}

ModelConfig read_own_gpt2_config(const json& config, const std::string& where) {
  ModelConfig result = read_gpt2_config(config, where);
  result.own.get<PositionOptions>().positions = json_string(config, "positions", where);
  auto& rotary = result.own.get<RotaryOptions>();
  rotary.share = json_number(config, "rotary_share", where, rotary.share);
  rotary.base = static_cast<float>(json_number(config, "rotary_base", where, static_cast<double>(rotary.base)));
  auto& table = result.own.get<PositionTableOptions>();
  table.trained = json_bool(config, "trained_positions", where, table.trained);
  table.random_table = json_string(config, "random_table", where, table.random_table);
  table.random_in_evaluation = json_bool(config, "random_in_evaluation", where, table.random_in_evaluation);
  table.dropout = dropout_from_huggingface(config, "position_pdrop", where, 0);
  return result;
}

void write_own_gpt2_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  write_gpt2_config(config, result);
  const auto& rotary = config.own.get<RotaryOptions>();
  result["positions"] = config.own.get<PositionOptions>().positions;
  result["rotary_share"] = rotary.share;
  result["rotary_base"] = decimal(rotary.base);
  const auto& table = config.own.get<PositionTableOptions>();
  result["trained_positions"] = table.trained;
  result["random_table"] = table.random_table;
  result["random_in_evaluation"] = table.random_in_evaluation;
  result["position_pdrop"] = decimal(table.dropout);
}

// Returns the format, by transformers' or this engine's type and class.
HuggingFaceFormat format_of(const char* model_type, const char* class_name) {
  return {.architecture = "gpt2",
          .model_type = model_type,
          .classes = {{class_name}},
          .prefix = "transformer.",
          .names = {{"embedding.tokens", "transformer.wte.weight"},
                    {"embedding.positions", "transformer.wpe.weight"},
                    {"layers.*.norm1.gain", "transformer.h.*.ln_1.weight"},
                    {"layers.*.norm1.bias", "transformer.h.*.ln_1.bias"},
                    {"layers.*.attention.qkv.weight", "transformer.h.*.attn.c_attn.weight", true},
                    {"layers.*.attention.qkv.bias", "transformer.h.*.attn.c_attn.bias"},
                    {"layers.*.attention.output.weight", "transformer.h.*.attn.c_proj.weight", true},
                    {"layers.*.attention.output.bias", "transformer.h.*.attn.c_proj.bias"},
                    {"layers.*.norm2.gain", "transformer.h.*.ln_2.weight"},
                    {"layers.*.norm2.bias", "transformer.h.*.ln_2.bias"},
                    {"layers.*.feed_forward.up.weight", "transformer.h.*.mlp.c_fc.weight", true},
                    {"layers.*.feed_forward.up.bias", "transformer.h.*.mlp.c_fc.bias"},
                    {"layers.*.feed_forward.down.weight", "transformer.h.*.mlp.c_proj.weight", true},
                    {"layers.*.feed_forward.down.bias", "transformer.h.*.mlp.c_proj.bias"},
                    {"final_norm.gain", "transformer.ln_f.weight"},
                    {"final_norm.bias", "transformer.ln_f.bias"},
                    {"lm_head.weight", "lm_head.weight"}},
          .general_keys = {{"hidden_size", "n_embd"},
                           {"num_hidden_layers", "n_layer"},
                           {"num_attention_heads", "n_head"},
                           {"max_position_embeddings", "n_positions"}},
          .tied = {{"lm_head.weight", "transformer.wte.weight", "embedding.tokens", /*unless=*/"lm_head.weight"}},
          .buffers = {"transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias"},
          .read_config = read_gpt2_config,
          .write_config = write_gpt2_config};
}

}  // namespace

const HuggingFaceFormat& gpt2_format() {
  static const HuggingFaceFormat format = [] {
    HuggingFaceFormat result = format_of("gpt2", "GPT2LMHeadModel");
    result.suits = has_gpt2_positions;
    return result;
  }();
  return format;
}

const HuggingFaceFormat& own_gpt2_format() {
  static const HuggingFaceFormat format = [] {
    HuggingFaceFormat result = format_of("engine_gpt2", "EngineGPT2LMHeadModel");
    result.read_config = read_own_gpt2_config;
    result.write_config = write_own_gpt2_config;
    return result;
  }();
  return format;
}

}  // namespace engine
