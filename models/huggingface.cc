#include "models/huggingface.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "models/huggingface_format.h"
#include "models/huggingface_tensors.h"
#include "models/tied_options.h"

namespace engine {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::vector<const HuggingFaceFormat*> formats() {
  std::vector<const HuggingFaceFormat*> all;
  for (const Architecture& row : architectures())
    for (const auto format : row.formats) all.push_back(&format());
  return all;
}

const HuggingFaceFormat& format_of(const ModelConfig& config) {
  for (const auto format : architecture_of(config).formats)
    if (!format().suits || format().suits(config)) return format();
  fail("models of architecture \"", config.architecture, "\" have no Hugging Face format");
}

// Returns the class that "architectures" names, or null where it names none of the format's.
const HuggingFaceFormat::Class* class_named(const HuggingFaceFormat& format, const json& config,
                                            const std::string& where) {
  const std::string prefix = has_own_parts(config, where) ? own_class : "";
  for (const json& name : json_has(config, "architectures", where) ? config["architectures"] : json::array())
    for (const auto& known : format.classes)
      if (name == known.name || name == prefix + known.name) return &known;
  return nullptr;
}

// Finds the format by "model_type". The first configs had only "architectures".
const HuggingFaceFormat& format_of(const json& config, const std::string& where) {
  std::string model_type = json_string(config, "model_type", where, "");
  if (has_own_parts(config, where) && model_type.starts_with(own_type))
    model_type.erase(0, std::strlen(own_type));
  std::string known;
  for (const HuggingFaceFormat* format : formats()) {
    if (model_type == format->model_type) return *format;
    if (model_type.empty() && class_named(*format, config, where)) return *format;
    known += (known.empty() ? "" : ", ") + std::string(format->model_type);
  }
  if (model_type.empty()) fail(where, ": \"model_type\" is missing: ", known);
  fail(where, ": \"model_type\" is \"", model_type.substr(0, 60), "\", it should be one of: ", known);
}

void read_generation_config(const fs::path& folder, const HuggingFaceFormat& format, ModelConfig& config) {
  const fs::path file = folder / "generation_config.json";
  if (!fs::exists(file) || architecture_of(config).kind == ModelKind::encoder) return;
  const json tokens = parse_json_file(file);
  if (!tokens.is_object()) fail(file.string(), ": should be a JSON object");
  config.generation_ends = tokens_from_huggingface(tokens, "eos_token_id", file.string(), config.vocab_size, -1);
  if (config.generation_ends == config.eos_tokens) config.generation_ends.clear();
  if (format.read_generation) format.read_generation(tokens, file.string(), config);
}

// The config with the architecture's own keys in place of transformers' general ones.
json with_own_keys(json config, const HuggingFaceFormat& format, const std::string& where) {
  for (const auto& [general, own] : format.general_keys)
    if (json_has(config, general, where)) config[own] = config[general];
  return config;
}

// Tells whether a value of "layer_types" says what every layer does without it.
bool is_usual(const json& value) {
  const auto is_full = [](const json& one) { return one == "full_attention"; };
  return value.is_array() && std::all_of(value.begin(), value.end(), is_full);
}

// Throws an Error that names a key by which transformers computes something else, or loads other weights.
void refuse_keys(const json& config, ModelKind kind, const std::string& where) {
  for (const char* key : {"attention_chunk_size", "layer_types", "per_layer_config", "quantization_config",
                          "sliding_window", "transformers_weights"})
    if (json_has(config, key, where) && !config[key].empty() && !is_usual(config[key]))
      fail(where, ": \"", key, "\" is ", config[key].dump().substr(0, 60), ", which is not supported");
  require_option(config, "is_encoder_decoder", kind == ModelKind::encoder_decoder, where);
  // It changes the masks of encoders and of decoders, so both values change those of an encoder-decoder.
  if (kind == ModelKind::encoder_decoder && json_has(config, "is_causal", where))
    fail(where, ": \"is_causal\" is ", config["is_causal"].dump().substr(0, 60), ", which is not supported");
  require_option(config, "is_causal", kind != ModelKind::encoder, where);
}

// Throws an Error where transformers would leave out layers of the model that is trained.
void refuse_layer_drops(const json& config, const HuggingFaceFormat& format, const std::string& where) {
  for (const char* key : format.layer_drops)
    if (const double rate = json_number(config, key, where, 0); rate != 0)
      fail(where, ": \"", key, "\" is ", rate, ": whole layers are not dropped in training here, set it to 0");
}

// Throws an Error where transformers would train the folder's classifier by another loss than the cross entropy of
// classes, or read its logits in another way.
void refuse_problem_type(const json& config, const std::string& where) {
  constexpr char known[] = "single_label_classification";
  const std::string type = json_string(config, "problem_type", where, known);
  if (type != known)
    fail(where, ": \"problem_type\" is \"", type.substr(0, 60), "\", it should be \"", known, "\"");
}

// A model that gets another head than the folder's own, or is trained, is checked otherwise.
struct Purpose {
  std::optional<HeadKind> head = {};
  bool any_class = false;  // else an encoder's class that is not known is an error
  bool trained = false;
};

std::pair<ModelConfig, const HuggingFaceFormat*> read_config(const fs::path& folder, const Purpose& purpose) {
  if (!fs::is_directory(folder)) fail(folder.string(), ": there is no such model folder");
  const fs::path file = folder / "config.json";
  if (!fs::exists(file)) fail(folder.string(), ": is no model folder: it has no config.json");
  const std::string where = file.string();
  const json config = parse_json_file(file);
  if (!config.is_object()) fail(where, ": should be a JSON object");
  const HuggingFaceFormat& format = format_of(config, where);
  ModelConfig result = format.read_config(with_own_keys(config, format, where), where);
  set_tied_embeddings(result, json_bool(config, "tie_word_embeddings", where, has_tied_embeddings(result)));
  const HuggingFaceFormat::Class* const named = class_named(format, config, where);
  if (named) result.head = named->head;
  read_own_parts(config, where, result);
  read_generation_config(folder, format, result);
  const ModelKind kind = architecture_of(result).kind;
  const bool is_encoder = kind == ModelKind::encoder;
  const HeadKind head = purpose.head.value_or(result.head);
  refuse_keys(config, kind, where);
  if (purpose.trained) refuse_layer_drops(config, format, where);
  if (head == HeadKind::classification && result.head == head) refuse_problem_type(config, where);
  if (!named && is_encoder && !purpose.any_class && json_has(config, "architectures", where)) {
    std::string known;
    for (const auto& one : format.classes) known += (known.empty() ? "" : ", ") + std::string(one.name);
    fail(where, ": \"architectures\" is ", config["architectures"].dump().substr(0, 80), ", it should be one of: ",
         known);
  }
  return {std::move(result), &format};
}

void write_tokens(const HuggingFaceFormat& format, const ModelConfig& config, const std::vector<int32_t>& ends,
                  nlohmann::ordered_json& result) {
  token_to_huggingface(result, "bos_token_id", config.bos_token);
  tokens_to_huggingface(result, "eos_token_id", ends);
  token_to_huggingface(result, "pad_token_id", config.pad_token);
  if (format.write_tokens) format.write_tokens(config, result);
}

}  // namespace

std::string activation_from_huggingface(const std::string& name, const std::string& where) {
  for (const char* same : {"gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python_tanh"})
    if (name == same) return "gelu_tanh";
  if (name == "gelu" || name == "gelu_python") return "gelu";
  if (name == "swish") return "silu";
  for (const char* same : {"relu", "tanh", "silu", "quick_gelu", "mish"})
    if (name == same) return name;
  fail(where, ": the activation \"", name.substr(0, 60),
       "\" is unknown: gelu_new, gelu_pytorch_tanh, gelu_python_tanh, gelu_fast, gelu_accurate, gelu, gelu_python, "
       "quick_gelu, relu, tanh, silu, swish or mish");
}

std::string activation_to_huggingface(const std::string& name) { return name == "gelu_tanh" ? "gelu_new" : name; }

int32_t token_from_huggingface(const json& config, const char* key, const std::string& where, int64_t vocab_size,
                               int32_t absent) {
  const int64_t id = config.contains(key) ? json_integer(config, key, where, -1, INT32_MAX, -1) : absent;
  return id < vocab_size ? static_cast<int32_t>(id) : -1;
}

std::vector<int32_t> tokens_from_huggingface(const json& config, const char* key, const std::string& where,
                                             int64_t vocab_size, int32_t absent) {
  const bool is_list = json_has(config, key, where) && config[key].is_array();
  std::vector<int32_t> tokens;
  const auto add = [&](const json& object) {
    const int32_t token = token_from_huggingface(object, key, where, vocab_size, absent);
    if (token >= 0 && std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  };
  if (!is_list) {
    add(config);
  } else {
    for (const json& token : config[key]) {
      json one;
      one[key] = token;
      add(one);
    }
  }
  return tokens;
}

void tokens_to_huggingface(nlohmann::ordered_json& config, const char* key, const std::vector<int32_t>& tokens) {
  if (tokens.size() > 1) config[key] = tokens;
  else token_to_huggingface(config, key, tokens.empty() ? -1 : tokens[0]);
}

void token_to_huggingface(nlohmann::ordered_json& config, const char* key, int32_t token) {
  config[key] = token >= 0 ? json(token) : json(nullptr);
}

void require_option(const json& config, const char* key, bool value, const std::string& where) {
  if (json_bool(config, key, where, value) != value)
    fail(where, ": \"", key, "\" is ", value ? "false" : "true", ", which is not supported");
}

float dropout_from_huggingface(const json& config, const char* key, const std::string& where, double absent) {
  const float rate = static_cast<float>(json_number(config, key, where, absent));
  if (!(rate >= 0 && rate <= 1)) fail(where, ": ", key, " is ", rate, ", a rate of dropout is from 0 to 1");
  return rate;
}

float epsilon_from_huggingface(const json& config, const char* key, const std::string& where, double absent) {
  const float epsilon = static_cast<float>(json_number(config, key, where, absent));
  if (!(epsilon >= 0 && epsilon < 1)) fail(where, ": ", key, " is ", epsilon, ", it should be from 0 to below 1");
  return epsilon;
}

float initializer_range_from_huggingface(const json& config, const std::string& where) {
  const float range = static_cast<float>(json_number(config, "initializer_range", where, 0.02));
  if (!(range >= 0 && range < 1e6f))
    fail(where, ": initializer_range is ", range, ", it should be a small number from 0");
  return range;
}

namespace {

// Reads a class's name. Numbers and truth values are names, too.
std::string label_of(const json& names, const std::string& number, const std::string& where) {
  const json* const name = json_find(names, number.c_str(), where);
  if (name && (name->is_number() || name->is_boolean())) return name->dump();
  return json_string(names, number.c_str(), where);
}

}  // namespace

std::vector<std::string> labels_from_huggingface(const json& config, const std::string& where) {
  constexpr int64_t most = 1 << 20;
  std::vector<std::string> labels;
  if (!json_has(config, "id2label", where)) {
    const int64_t count = json_integer(config, "num_labels", where, 1, most, 2);
    for (int64_t i = 0; i < count; ++i) labels.push_back("LABEL_" + std::to_string(i));
    return labels;
  }
  const json& names = config["id2label"];
  if (!names.is_object() || names.empty()) fail(where, ": \"id2label\" should be an object that names the classes");
  for (size_t i = 0; i < names.size(); ++i)
    labels.push_back(label_of(names, std::to_string(i), where + ": id2label"));
  return labels;
}

void labels_to_huggingface(const ModelConfig& config, nlohmann::ordered_json& result) {
  if (config.head != HeadKind::classification) return;
  for (size_t i = 0; i < config.labels.size(); ++i) {
    result["id2label"][std::to_string(i)] = config.labels[i];
    result["label2id"][config.labels[i]] = i;
  }
}

double decimal(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double result = 0;
  std::from_chars(text, end, result);
  return result;
}

ModelConfig read_model_config(const fs::path& folder) {
  // The class of a model that is not loaded does not matter.
  return read_config(written_folder(folder), {.head = HeadKind::none, .any_class = true}).first;
}

std::unique_ptr<Model> load_model(const fs::path& path, Memory& memory, bool with_gradients,
                                  const LoadRequest& request) {
  const fs::path folder = written_folder(path);
  auto [config, format] = read_config(
      folder, {.head = request.head, .any_class = request.head.has_value(), .trained = with_gradients});
  NewParts new_parts{.allowed = {}, .seed = request.seed};
  if (request.head && *request.head != config.head) new_parts.allowed = parts_beside_trunk;
  if (request.new_head) {
    new_parts.always = parts_beside_trunk;
    for (const char* part : {"pooler", "thought"}) new_parts.always.erase(part);
  }
  if (request.head) config.head = *request.head;
  if (config.head != HeadKind::question_answering)
    config.span_dense = false, config.span_order = ModelConfig::independent_spans;
  if (!request.labels.empty()) {
    if (request.labels.size() != config.labels.size()) new_parts.allowed.insert("classifier");
    config.labels = request.labels;
  }
  // A trunk alone may come with its pooler or without.
  const std::string pooler = std::string(format->prefix) + "pooler.dense.weight";
  config.pooler = config.pooler && config.head == HeadKind::none && has_tensor(folder, *format, pooler);
  // Tables that differ in the folder count, as in transformers, whatever the config says of them.
  const bool has_logits = architecture_of(config).kind != ModelKind::encoder || config.head == HeadKind::masked;
  HuggingFaceFormat as_read = *format;
  const bool has_untied = has_logits && has_tied_embeddings(config) && has_untied_tensors(folder, *format);
  if (has_untied) {
    set_tied_embeddings(config, false);
    as_read.tied.insert(as_read.tied.end(), format->tied_by_config.begin(), format->tied_by_config.end());
  }
  if (format->logits_bias) format->logits_bias_of(config) = read_logits_bias(folder, *format, config.vocab_size);
  const ModelConfig in_folder = config;
  if (request.adjust) request.adjust(config);
  if (!in_folder.span_dense) new_parts.allowed.insert("span_dense");
  if (!in_folder.thought_states) new_parts.allowed.insert("thought");
  if (config.span_order != in_folder.span_order) new_parts.always.insert("span_order");
  new_parts.known_tokens = config.vocab_size;
  new_parts.tokens = config.vocab_size = std::max(config.vocab_size, request.tokens);
  std::unique_ptr<Model> model;
  try {
    model = make_model(config, request.kinds);
  } catch (const Error& error) {
    fail((folder / "config.json").string(), ": ", error.what());
  }
  LoadReport report = load_weights(folder, as_read, config, model->parameters(), memory, with_gradients,
                                   request.matrices, new_parts);
  report.new_tokens = new_parts.tokens - new_parts.known_tokens;
  report.has_untied = has_untied;
  if (request.report) *request.report = report;
  return model;
}

std::string LoadReport::text() const {
  std::string text;
  const auto add = [&](const char* what, const std::vector<std::string>& names, size_t most) {
    if (names.empty()) return;
    text += (text.empty() ? "" : "; ") + std::string(what);
    for (size_t i = 0; i < std::min(most, names.size()); ++i) text += (i ? ", " : " ") + names[i];
    if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
  };
  add("loaded", loaded, loaded.size());
  add("new", fresh, fresh.size());
  if (new_tokens) text += "; " + std::to_string(new_tokens) + " new tokens";
  if (has_untied) text += "; its tables of tokens differ, so none is tied";
  add("left out", left_out, 4);
  return text;
}

void save_model(const fs::path& folder, Model& model, const std::string& dtype) {
  const HuggingFaceFormat& format = format_of(model.config());
  const bool is_known = dtype == "F32" || dtype == "F16" || dtype == "BF16";
  require(is_known, "a model is saved as F32, F16 or BF16, not as \"", dtype, "\"");
  nlohmann::ordered_json config;
  config["architectures"] = {class_of(format, model.config().head).name};
  config["model_type"] = format.model_type;
  config["dtype"] = dtype == "F32" ? "float32" : dtype == "F16" ? "float16" : "bfloat16";
  format.write_config(model.config(), config);
  config["tie_word_embeddings"] = has_tied_embeddings(model.config());
  write_own_parts(model.config(), config);
  write_tokens(format, model.config(), model.config().eos_tokens, config);
  save_weights(folder, format, model.config(), model.parameters(), dtype);
  write_file(folder / "config.json", config.dump(2) + "\n");
  if (!generates(model)) return;
  nlohmann::ordered_json generation;
  generation["_from_model_config"] = true;
  write_tokens(format, model.config(), model.config().end_tokens(), generation);
  write_file(folder / "generation_config.json", generation.dump(2) + "\n");
}

}  // namespace engine
