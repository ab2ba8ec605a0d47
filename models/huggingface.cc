#include "models/huggingface.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "models/huggingface_format.h"
#include "models/huggingface_tensors.h"

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

// The class that "architectures" names; null where it names none of the format's.
const HuggingFaceFormat::Class* class_named(const HuggingFaceFormat& format, const json& config,
                                            const std::string& where) {
  for (const json& name : json_has(config, "architectures", where) ? config["architectures"] : json::array())
    for (const auto& known : format.classes)
      if (name == known.name) return &known;
  return nullptr;
}

// By "model_type"; the first configs had only "architectures".
const HuggingFaceFormat& format_of(const json& config, const std::string& where) {
  const std::string model_type = json_string(config, "model_type", where, "");
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
  if (!format.read_generation || !fs::exists(file)) return;
  const json tokens = parse_json_file(file);
  if (!tokens.is_object()) fail(file.string(), ": should be a JSON object");
  format.read_generation(tokens, file.string(), config);
}

// An encoder's class that is not known is an error, unless the caller says which head the model shall have.
std::pair<ModelConfig, const HuggingFaceFormat*> read_config(const fs::path& folder, bool any_class = true) {
  if (!fs::is_directory(folder)) fail(folder.string(), ": there is no such model folder");
  const fs::path file = folder / "config.json";
  if (!fs::exists(file)) fail(folder.string(), ": is no model folder: it has no config.json");
  const std::string where = file.string();
  const json config = parse_json_file(file);
  if (!config.is_object()) fail(where, ": should be a JSON object");
  const HuggingFaceFormat& format = format_of(config, where);
  ModelConfig result = format.read_config(config, where);
  const HuggingFaceFormat::Class* const named = class_named(format, config, where);
  if (named) result.head = named->head;
  read_generation_config(folder, format, result);
  const bool is_encoder = architecture_of(result).kind == ModelKind::encoder;
  if (!named && is_encoder && !any_class && json_has(config, "architectures", where)) {
    std::string known;
    for (const auto& one : format.classes) known += (known.empty() ? "" : ", ") + std::string(one.name);
    fail(where, ": \"architectures\" is ", config["architectures"].dump().substr(0, 80), ", it should be one of: ",
         known);
  }
  return {std::move(result), &format};
}

void write_tokens(const HuggingFaceFormat& format, const ModelConfig& config, nlohmann::ordered_json& result) {
  token_to_huggingface(result, "bos_token_id", config.bos_token);
  token_to_huggingface(result, "eos_token_id", config.eos_token);
  token_to_huggingface(result, "pad_token_id", config.pad_token);
  if (format.write_tokens) format.write_tokens(config, result);
}

}  // namespace

std::string activation_from_huggingface(const std::string& name, const std::string& where) {
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return "gelu_tanh";
  if (name == "gelu" || name == "gelu_python") return "gelu";
  if (name == "relu" || name == "tanh") return name;
  fail(where, ": the activation \"", name.substr(0, 60),
       "\" is unknown: gelu_new, gelu_pytorch_tanh, gelu_fast, gelu, gelu_python, relu or tanh");
}

std::string activation_to_huggingface(const std::string& name) { return name == "gelu_tanh" ? "gelu_new" : name; }

int32_t token_from_huggingface(const json& config, const char* key, const std::string& where, int64_t vocab_size,
                               int32_t absent) {
  const int64_t id = config.contains(key) ? json_integer(config, key, where, -1, INT32_MAX, -1) : absent;
  return id < vocab_size ? static_cast<int32_t>(id) : -1;
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
  if (!(rate >= 0 && rate < 1)) fail(where, ": ", key, " is ", rate, ", a rate of dropout is from 0 to below 1");
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
    labels.push_back(json_string(names, std::to_string(i).c_str(), where + ": id2label"));
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

ModelConfig read_model_config(const fs::path& folder) { return read_config(written_folder(folder)).first; }

std::unique_ptr<Model> load_model(const fs::path& path, Memory& memory, bool with_gradients,
                                  const LoadRequest& request) {
  const fs::path folder = written_folder(path);
  auto [config, format] = read_config(folder, /*any_class=*/request.head.has_value());
  NewParts new_parts{.allowed = {}, .seed = request.seed};
  if (request.head && *request.head != config.head) new_parts.allowed = {"pooler", "masked_head", "classifier"};
  if (request.new_head) new_parts.always = {"masked_head", "classifier"};
  if (request.head) config.head = *request.head;
  if (!request.labels.empty()) {
    if (request.labels.size() != config.labels.size()) new_parts.allowed.insert("classifier");
    config.labels = request.labels;
  }
  // A trunk alone may come with its pooler or without.
  const std::string pooler = std::string(format->prefix) + "pooler.dense.weight";
  config.pooler = config.pooler && config.head == HeadKind::none && has_tensor(folder, *format, pooler);
  if (format->logits_bias) format->logits_bias_of(config) = read_logits_bias(folder, *format, config.vocab_size);
  if (request.adjust) request.adjust(config);
  std::unique_ptr<Model> model;
  try {
    model = make_model(config, request.kinds);
  } catch (const Error& error) {
    fail((folder / "config.json").string(), ": ", error.what());
  }
  const LoadReport report = load_weights(folder, *format, model->parameters(), memory, with_gradients, new_parts);
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
  write_tokens(format, model.config(), config);
  save_weights(folder, format, model.config(), model.parameters(), dtype);
  write_file(folder / "config.json", config.dump(2) + "\n");
  if (!generates(model)) return;
  nlohmann::ordered_json generation;
  generation["_from_model_config"] = true;
  write_tokens(format, model.config(), generation);
  write_file(folder / "generation_config.json", generation.dump(2) + "\n");
}

}  // namespace engine
