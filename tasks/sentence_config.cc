#include "tasks/sentence_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "models/config.h"
#include "tasks/language_model.h"

namespace engine {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

using Keys = std::initializer_list<const char*>;

bool is_among(const std::string& key, Keys keys) {
  return std::any_of(keys.begin(), keys.end(), [&](const char* one) { return key == one; });
}

// Refuses unknown keys. The keys of a module's config are the arguments of its class, so they are errors there, too.
void require_known(const json& config, const std::string& where, Keys known) {
  if (!config.is_object()) fail(where, ": should be a JSON object");
  for (const auto& [key, value] : config.items())
    if (!is_among(key, known)) fail(where, ": the key \"", key.substr(0, 60), "\" is not known");
}

// Refuses a key unless it has no value, an empty one, or `usual`.
void require_usual(const json& config, const char* key, const std::string& where, const json& usual = nullptr) {
  const json* const value = json_find(config, key, where);
  if (!value || *value == usual || ((value->is_object() || value->is_array() || value->is_string()) && value->empty()))
    return;
  fail(where, ": \"", key, "\" is ", value->dump(-1, ' ', true).substr(0, 60), ", which is not supported");
}

SentenceConfig::Pooling pooling_named(const std::string& mode, const std::string& where) {
  using Pooling = SentenceConfig::Pooling;
  if (mode == "mean") return Pooling::mean;
  if (mode == "mean_sqrt_len_tokens") return Pooling::mean_sqrt;
  if (mode == "weightedmean") return Pooling::weighted_mean;
  if (mode == "max") return Pooling::max;
  if (mode == "cls") return Pooling::first;
  if (mode == "lasttoken") return Pooling::last;
  fail(where, ": the pooling mode is \"", mode.substr(0, 60),
       "\", it should be one of mean, mean_sqrt_len_tokens, weightedmean, max, cls, lasttoken");
}

void read_pooling(const fs::path& file, SentenceConfig& result) {
  const std::string where = file.string();
  const json config = parse_json_file(file);
  constexpr std::pair<const char*, const char*> older[] = {
      {"pooling_mode_cls_token", "cls"},           {"pooling_mode_max_tokens", "max"},
      {"pooling_mode_mean_tokens", "mean"},        {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
      {"pooling_mode_weightedmean_tokens", "weightedmean"}, {"pooling_mode_lasttoken", "lasttoken"}};
  require_known(config, where,
                {"word_embedding_dimension", "embedding_dimension", "pooling_mode", "include_prompt",
                 "pooling_mode_cls_token", "pooling_mode_max_tokens", "pooling_mode_mean_tokens",
                 "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_lasttoken", "pooling_mode_weightedmean_tokens"});
  result.poolings.clear();
  const auto add = [&](const std::string& mode) { result.poolings.push_back(pooling_named(mode, where)); };
  if (const json* mode = json_find(config, "pooling_mode", where); mode && mode->is_array()) {
    for (const json& one : *mode) add(one.is_string() ? one.get<std::string>() : one.dump());
  } else if (mode) {
    add(json_string(config, "pooling_mode", where));
  } else {
    for (const auto& [key, name] : older)
      if (json_bool(config, key, where, false)) add(name);
    if (result.poolings.empty()) add("mean");
  }
  if (result.poolings.empty()) fail(where, ": \"pooling_mode\" names no mode");
  result.includes_prompt = json_bool(config, "include_prompt", where, true);
}

// Returns an activation by its name in PyTorch.
std::string activation_of(const json& config, const std::string& where) {
  constexpr std::pair<const char*, const char*> known[] = {
      {"activation.Tanh", "tanh"}, {"activation.ReLU", "relu"}, {"activation.GELU", "gelu"},
      {"activation.SiLU", "silu"}, {"activation.Mish", "mish"}, {"linear.Identity", ""}};
  const std::string name = json_string(config, "activation_function", where, "torch.nn.modules.activation.Tanh");
  for (const auto& [theirs, ours] : known)
    if (name == std::string("torch.nn.modules.") + theirs) return ours;
  fail(where, ": \"activation_function\" is \"", name.substr(0, 80),
       "\", it should be torch.nn.modules.linear.Identity, or one of torch.nn.modules.activation: Tanh, ReLU, GELU, ",
       "SiLU, Mish");
}

// Reads the config of a dense layer or a norm, which read and write the sentence's vector.
json read_vector_module(const fs::path& file, Keys keys) {
  const json config = parse_json_file(file);
  require_known(config, file.string(), keys);
  for (const char* key : {"module_input_name", "module_output_name"})
    require_usual(config, key, file.string(), "sentence_embedding");
  return config;
}

SentenceConfig::Module read_dense(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  const std::string where = file.string();
  const json config = read_vector_module(file, {"in_features", "out_features", "bias", "activation_function",
                                                "module_input_name", "module_output_name", "use_residual"});
  SentenceConfig::Module dense{.dense = folder / "model.safetensors"};
  dense.inputs = json_integer(config, "in_features", where, 1, most_width);
  dense.outputs = json_integer(config, "out_features", where, 1, most_width);
  dense.has_bias = json_bool(config, "bias", where, true);
  dense.has_residual = json_bool(config, "use_residual", where, false);
  dense.activation = activation_of(config, where);
  if (!fs::exists(dense.dense))
    fail(folder.string(), ": has no model.safetensors",
         fs::exists(folder / "pytorch_model.bin") ? "; pytorch_model.bin is not read: load the folder with "
                                                    "sentence-transformers, and save it, which writes safetensors"
                                                  : "");
  return dense;
}

// Reads the modules in their order. Another type of module would change the vectors.
void read_modules(const fs::path& folder, SentenceConfig& result) {
  const fs::path modules = folder / "modules.json";
  const std::string where = modules.string();
  const json list = parse_json_file(modules);
  if (!list.is_array()) fail(where, ": should be a list of modules");
  size_t read = 0;  // 1: the encoder, 2: pooling, too
  for (const json& module : list) {
    const std::string type = json_string(module, "type", where), name = type.substr(type.rfind('.') + 1);
    const fs::path path = folder / json_string(module, "path", where, "");
    const bool is_own = type.starts_with("sentence_transformers.");
    if (is_own && name == "Transformer" && read == 0) {
      result.encoder = path;
      read = 1;
    } else if (is_own && name == "Pooling" && read == 1) {
      read_pooling(path / "config.json", result);
      read = 2;
    } else if (is_own && name == "Normalize" && read == 2) {
      result.modules.emplace_back();
      if (fs::exists(path / "config.json"))
        read_vector_module(path / "config.json", {"module_input_name", "module_output_name"});
    } else if (is_own && name == "Dense" && read == 2) {
      result.modules.push_back(read_dense(path));
    } else if (!(is_own && name == "Dropout")) {  // changes vectors in trainings alone
      fail(where, ": a module is \"", type.substr(0, 80), "\", there should be Transformer, then Pooling, then ",
           "Dense and Normalize in any number");
    }
  }
  if (read < 2) fail(where, ": names no ", read == 0 ? "Transformer" : "Pooling");
}

// Reads sentence_bert_config.json, which older folders call after their architecture.
void read_encoder_settings(const fs::path& folder, SentenceConfig& result) {
  for (const char* name : {"bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"}) {
    const fs::path file = folder / ("sentence_" + std::string(name) + "_config.json");
    if (!fs::exists(file)) continue;
    const std::string where = file.string();
    const json config = parse_json_file(file);
    if (config.is_object() && config.empty()) continue;
    require_known(config, where,
                  {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name",
                   "processing_kwargs", "unpad_inputs", "query_length", "document_length", "query_expansion",
                   "model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs",
                   "tokenizer_name_or_path"});
    result.max_length = json_integer(config, "max_seq_length", where, 1, most_rows, 0);
    result.lowers = json_bool(config, "do_lower_case", where, false);
    require_usual(config, "transformer_task", where, "feature-extraction");
    require_usual(config, "module_output_name", where, "token_embeddings");
    require_usual(config, "modality_config", where,
                  {{"text", {{"method", "forward"}, {"method_output_name", "last_hidden_state"}}}});
    for (const char* key : {"processing_kwargs", "tokenizer_name_or_path"}) require_usual(config, key, where);
    for (const char* key :
         {"model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"}) {
      json own = json_has(config, key, where) ? config[key] : json::object();
      if (own.is_object()) own.erase("trust_remote_code");
      require_usual({{key, own}}, key, where);
    }
    return;
  }
}

void read_prompt(const json& config, const std::string& where, SentenceConfig& result) {
  const json* const prompts = json_find(config, "prompts", where);
  if (prompts && !prompts->is_object()) fail(where, ": \"prompts\" should be an object of name: text");
  if (!json_has(config, "default_prompt_name", where)) return;
  const std::string name = json_string(config, "default_prompt_name", where);
  if (prompts && prompts->contains(name)) result.prompt = json_string(*prompts, name.c_str(), where, "");
  else if (name != "query" && name != "document")  // these are empty by default
    fail(where, ": \"default_prompt_name\" is \"", name.substr(0, 60), "\", which is not among the \"prompts\"");
}

void read_model_settings(const fs::path& folder, SentenceConfig& result) {
  const fs::path file = folder / "config_sentence_transformers.json";
  if (!fs::exists(file)) return;
  const std::string where = file.string();
  const json config = parse_json_file(file);
  require_usual(config, "model_type", where, "SentenceTransformer");
  read_prompt(config, where, result);
  result.truncated_width = json_integer(config, "truncate_dim", where, 1, INT32_MAX, 0);
}

}  // namespace

SentenceConfig read_sentence_config(const fs::path& folder) {
  SentenceConfig result;
  if (!fs::exists(folder / "modules.json")) {
    result.encoder = open_run(folder).model;
    return result;
  }
  read_modules(folder, result);
  read_encoder_settings(result.encoder, result);
  read_model_settings(folder, result);
  return result;
}

}  // namespace engine
