// The config keys and tensor names of BartForConditionalGeneration. Models with positions that BART does not have get
// this engine's own model_type "engine_bart", which transformers does not know: it adds the keys and names of
// "positions" and "relative_positions".
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "models/bart.h"
#include "models/huggingface_format.h"
#include "models/positions.h"

namespace engine {

using nlohmann::json;

namespace {

// Reads a size that the encoder and the decoder may each have there, and that they share here.
int64_t of_both_sides(const json& config, const char* part, const std::string& where, int64_t most, int64_t absent) {
  const std::string encoder = std::string("encoder_") + part, decoder = std::string("decoder_") + part;
  const int64_t size = json_integer(config, encoder.c_str(), where, 1, most, absent);
  if (json_integer(config, decoder.c_str(), where, 1, most, absent) != size)
    fail(where, ": ", encoder, " and ", decoder, " differ; they must be the same here");
  return size;
}

// Keys that are absent have the values that the transformers library's BartConfig gives them.
ModelConfig read_bart_config(const json& config, const std::string& where) {
  ModelConfig result;
  result.architecture = "bart";
  auto& own = result.own.get<BartOptions>();
  result.hidden_size = json_integer(config, "d_model", where, 1, most_width, 1024);
  result.num_layers = json_integer(config, "encoder_layers", where, 1, most_layers, 12);
  own.decoder_layers = json_integer(config, "decoder_layers", where, 1, most_layers, 12);
  result.num_heads = of_both_sides(config, "attention_heads", where, most_width, 16);
  result.ffn_size = of_both_sides(config, "ffn_dim", where, most_inner, 4096);
  result.vocab_size = json_integer(config, "vocab_size", where, 1, most_rows, 50265);
  result.max_positions = json_integer(config, "max_position_embeddings", where, 1, most_rows, 1024);
  result.activation = activation_from_huggingface(json_string(config, "activation_function", where, "gelu"), where);
  result.dropout = dropout_from_huggingface(config, "dropout", where, 0.1);
  result.attention_dropout = dropout_from_huggingface(config, "attention_dropout", where, 0);
  result.initializer_range = static_cast<float>(json_number(config, "init_std", where, 0.02));
  own.activation_dropout = dropout_from_huggingface(config, "activation_dropout", where, 0);
  own.scale_embedding = json_bool(config, "scale_embedding", where, false);
  const auto token = [&](const char* key, int32_t absent) {
    return token_from_huggingface(config, key, where, result.vocab_size, absent);
  };
  result.bos_token = token("bos_token_id", 0);
  result.eos_tokens = tokens_from_huggingface(config, "eos_token_id", where, result.vocab_size, 2);
  result.pad_token = token("pad_token_id", 1);
  own.decoder_start_token = token("decoder_start_token_id", 2);
  own.forced_bos_token = token("forced_bos_token_id", -1);
  own.forced_eos_token = token("forced_eos_token_id", 2);
  require_option(config, "is_decoder", false, where);
  require_option(config, "normalize_before", false, where);
  require_option(config, "add_final_layer_norm", false, where);
  return result;
}

void write_bart_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  result["is_encoder_decoder"] = true;
  result["d_model"] = config.hidden_size;
  result["encoder_layers"] = config.num_layers;
  result["decoder_layers"] = config.own.get<BartOptions>().decoder_size(config);
  result["encoder_attention_heads"] = config.num_heads;
  result["decoder_attention_heads"] = config.num_heads;
  result["encoder_ffn_dim"] = config.inner_size();
  result["decoder_ffn_dim"] = config.inner_size();
  result["vocab_size"] = config.vocab_size;
  result["max_position_embeddings"] = config.max_positions;
  result["activation_function"] = activation_to_huggingface(config.activation);
  result["dropout"] = decimal(config.dropout);
  result["attention_dropout"] = decimal(config.attention_dropout);
  result["activation_dropout"] = decimal(config.own.get<BartOptions>().activation_dropout);
  result["init_std"] = decimal(config.initializer_range);
  result["scale_embedding"] = config.own.get<BartOptions>().scale_embedding;
  result["use_cache"] = true;
}

bool has_bart_positions(const ModelConfig& config) {
  return config.own.get<PositionOptions>().positions == "learned" &&
         !config.own.get<BartOptions>().has_relative_tables();
}

ModelConfig read_own_bart_config(const json& config, const std::string& where) {
  ModelConfig result = read_bart_config(config, where);
  auto& own = result.own.get<BartOptions>();
  result.own.get<PositionOptions>().positions = json_string(config, "positions", where);
  own.relative_positions = json_string(config, "relative_positions", where, "none");
  own.relative_distances = json_integer(config, "relative_distances", where, 1, most_rows, own.relative_distances);
  return result;
}

void write_own_bart_config(const ModelConfig& config, nlohmann::ordered_json& result) {
  write_bart_config(config, result);
  const auto& own = config.own.get<BartOptions>();
  result["positions"] = config.own.get<PositionOptions>().positions;
  if (!own.has_relative_tables()) return;
  result["relative_positions"] = own.relative_positions;
  result["relative_distances"] = own.relative_distances;
}

// Tokens that generation puts at fixed places may stand in a file of their own, which then alone counts for forced
// ones.
void read_generation(const json& tokens, const std::string& where, ModelConfig& config) {
  auto& own = config.own.get<BartOptions>();
  const auto token = [&](const char* key, int32_t absent) {
    return token_from_huggingface(tokens, key, where, config.vocab_size, absent);
  };
  own.decoder_start_token = token("decoder_start_token_id", own.decoder_start_token);
  own.forced_bos_token = token("forced_bos_token_id", -1);
  own.forced_eos_token = token("forced_eos_token_id", -1);
}

void write_tokens(const ModelConfig& config, nlohmann::ordered_json& result) {
  const auto& own = config.own.get<BartOptions>();
  token_to_huggingface(result, "decoder_start_token_id", own.decoder_start_token);
  token_to_huggingface(result, "forced_bos_token_id", own.forced_bos_token);
  token_to_huggingface(result, "forced_eos_token_id", own.forced_eos_token);
}

const std::vector<std::pair<const char*, const char*>> general_keys = {
    {"hidden_size", "d_model"},
    {"num_hidden_layers", "encoder_layers"},
    {"num_attention_heads", "encoder_attention_heads"}};

using Tied = HuggingFaceFormat::Tied;

// Transformers before version 5 saved one table of tokens of both sides even where the logits had a table of their own.
const std::vector<Tied> bart_tied = {
    {"model.encoder.embed_tokens.weight", "model.shared.weight", "embedding.tokens", /*unless=*/"lm_head.weight"},
    {"model.decoder.embed_tokens.weight", "model.shared.weight", "embedding.tokens", /*unless=*/"lm_head.weight"},
    {"lm_head.weight", "model.shared.weight", "embedding.tokens", /*unless=*/"lm_head.weight"},
    {"model.shared.weight", "model.encoder.embed_tokens.weight", "encoder.embedding.tokens", "",
     Tied::Counting::the_other},
    {"model.shared.weight", "model.decoder.embed_tokens.weight", "decoder.embedding.tokens", "",
     Tied::Counting::the_other}};
const std::vector<Tied> bart_tied_by_config = {
    {"model.shared.weight", "lm_head.weight", "lm_head.weight", "", Tied::Counting::the_other}};

const std::vector<const char*> layer_drops = {"encoder_layerdrop", "decoder_layerdrop"};

std::vector<float>& logits_bias_of(ModelConfig& config) { return config.own.get<BartOptions>().output_bias; }

using BartNames = std::vector<TensorNames>;

// Adds a weight and a bias. Theirs are `parts` of ours, named side by side.
void add_linear(BartNames& names, const std::string& ours, const std::vector<std::string>& theirs) {
  const int parts = static_cast<int>(theirs.size());
  for (const char* kind : {".weight", ".bias"})
    for (int part = 0; part < parts; ++part)
      names.push_back({ours + kind, theirs[static_cast<size_t>(part)] + kind, false, part, parts});
}

void add_norm(BartNames& names, const std::string& ours, const std::string& theirs) {
  names.push_back({ours + ".gain", theirs + ".weight"});
  names.push_back({ours + ".bias", theirs + ".bias"});
}

BartNames bart_names() {
  BartNames names{{"embedding.tokens", "model.shared.weight"}, {"lm_head.weight", "lm_head.weight"}};
  for (const std::string side : {"encoder.", "decoder."}) {
    const std::string layer = side + "layers.*.", their_side = "model." + side, their_layer = "model." + layer;
    const auto projection = [&](const char* attention, const char* which) { return their_layer + attention + which; };
    names.push_back({side + "embedding.tokens", their_side + "embed_tokens.weight"});
    names.push_back({side + "embedding.positions", their_side + "embed_positions.weight"});
    add_norm(names, side + "embedding.norm", their_side + "layernorm_embedding");
    add_linear(names, layer + "attention.qkv", {projection("self_attn.", "q_proj"), projection("self_attn.", "k_proj"),
                                                projection("self_attn.", "v_proj")});
    add_linear(names, layer + "attention.output", {projection("self_attn.", "out_proj")});
    add_norm(names, layer + "norm1", their_layer + "self_attn_layer_norm");
    // An encoder has none of these, and names of parameters that a model lacks are passed over.
    add_linear(names, layer + "cross_attention.q", {projection("encoder_attn.", "q_proj")});
    add_linear(names, layer + "cross_attention.kv",
               {projection("encoder_attn.", "k_proj"), projection("encoder_attn.", "v_proj")});
    add_linear(names, layer + "cross_attention.output", {projection("encoder_attn.", "out_proj")});
    add_norm(names, layer + "cross_norm", their_layer + "encoder_attn_layer_norm");
    add_linear(names, layer + "feed_forward.up", {their_layer + "fc1"});
    add_linear(names, layer + "feed_forward.down", {their_layer + "fc2"});
    add_norm(names, layer + "norm2", their_layer + "final_layer_norm");
  }
  return names;
}

// Adds the names of relative tables.
BartNames own_names() {
  BartNames names = bart_names();
  for (const std::string side : {"encoder.", "decoder."})
    for (const char* part : {"", ".keys", ".values"})
      names.push_back({side + "layers.*.attention.relative" + part,
                       "model." + side + "layers.*.self_attn.relative_positions" + part});
  return names;
}

}  // namespace

const HuggingFaceFormat& bart_format() {
  static const HuggingFaceFormat format = {
      .architecture = "bart",
      .model_type = "bart",
      .classes = {{"BartForConditionalGeneration"}, {"BartModel", HeadKind::none, /*has_prefix=*/false}},
      .prefix = "model.",
      .names = bart_names(),
      .general_keys = general_keys,
      .tied = bart_tied,
      .tied_by_config = bart_tied_by_config,
      .layer_drops = layer_drops,
      .logits_bias = "final_logits_bias",
      .logits_bias_of = logits_bias_of,
      .suits = has_bart_positions,
      .read_config = read_bart_config,
      .write_config = write_bart_config,
      .read_generation = read_generation,
      .write_tokens = write_tokens};
  return format;
}

const HuggingFaceFormat& own_bart_format() {
  static const HuggingFaceFormat format = {
      .architecture = "bart",
      .model_type = "engine_bart",
      .classes = {{"EngineBartForConditionalGeneration"}},
      .prefix = "model.",
      .names = own_names(),
      .general_keys = general_keys,
      .tied = bart_tied,
      .tied_by_config = bart_tied_by_config,
      .layer_drops = layer_drops,
      .logits_bias = "final_logits_bias",
      .logits_bias_of = logits_bias_of,
      .read_config = read_own_bart_config,
      .write_config = write_own_bart_config,
      .read_generation = read_generation,
      .write_tokens = write_tokens};
  return format;
}

}  // namespace engine
