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

std::vector<const HuggingFaceFormat*> formats() { return {&gpt2_format()}; }

const HuggingFaceFormat& format_of(const ModelConfig& config) {
  for (const HuggingFaceFormat* format : formats())
    if (config.architecture == format->architecture) return *format;
  fail("models of architecture \"", config.architecture, "\" have no Hugging Face format");
}

// By "model_type"; the first configs had only "architectures".
const HuggingFaceFormat& format_of(const json& config, const std::string& where) {
  const std::string model_type = json_string(config, "model_type", where, "");
  std::string classes, known;
  for (const json& name : json_has(config, "architectures", where) ? config["architectures"] : json::array())
    if (name.is_string()) classes += name.get<std::string>() + " ";
  for (const HuggingFaceFormat* format : formats()) {
    if (model_type == format->model_type) return *format;
    if (model_type.empty() && classes.find(format->class_name) != std::string::npos) return *format;
    known += (known.empty() ? "" : ", ") + std::string(format->model_type);
  }
  if (model_type.empty()) fail(where, ": \"model_type\" is missing: ", known);
  fail(where, ": \"model_type\" is \"", model_type.substr(0, 60), "\", it should be one of: ", known);
}

std::pair<ModelConfig, const HuggingFaceFormat*> read_config(const fs::path& folder) {
  if (!fs::is_directory(folder)) fail(folder.string(), ": there is no such model folder");
  const fs::path file = folder / "config.json";
  if (!fs::exists(file)) fail(folder.string(), ": is no model folder: it has no config.json");
  const json config = parse_json_file(file);
  if (!config.is_object()) fail(file.string(), ": should be a JSON object");
  const HuggingFaceFormat& format = format_of(config, file.string());
  return {format.read_config(config, file.string()), &format};
}

void set_token(nlohmann::ordered_json& config, const char* key, int32_t token) {
  config[key] = token >= 0 ? json(token) : json(nullptr);
}

void set_tokens(nlohmann::ordered_json& result, const ModelConfig& config) {
  set_token(result, "bos_token_id", config.bos_token);
  set_token(result, "eos_token_id", config.eos_token);
  set_token(result, "pad_token_id", config.pad_token);
}

}  // namespace

std::string activation_from_huggingface(const std::string& name, const std::string& where) {
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return "gelu_tanh";
  if (name == "gelu" || name == "gelu_python") return "gelu";
  if (name == "relu" || name == "tanh") return name;
  fail(where, ": activation_function \"", name.substr(0, 60),
       "\" is unknown: gelu_new, gelu_pytorch_tanh, gelu_fast, gelu, gelu_python, relu or tanh");
}

std::string activation_to_huggingface(const std::string& name) { return name == "gelu_tanh" ? "gelu_new" : name; }

int32_t token_from_huggingface(const json& config, const char* key, const std::string& where, int64_t vocab_size,
                               int32_t absent) {
  const int64_t id = config.contains(key) ? json_integer(config, key, where, -1, INT32_MAX, -1) : absent;
  return id < vocab_size ? static_cast<int32_t>(id) : -1;
}

void require_option(const json& config, const char* key, bool value, const std::string& where) {
  if (json_bool(config, key, where, value) != value)
    fail(where, ": \"", key, "\" is ", value ? "false" : "true", ", which is not supported");
}

double decimal(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double result = 0;
  std::from_chars(text, end, result);
  return result;
}

ModelConfig read_model_config(const fs::path& folder) { return read_config(written_folder(folder)).first; }

std::unique_ptr<CausalModel> load_causal_model(const fs::path& path, Memory& memory, bool with_gradients,
                                               const std::function<void(ModelConfig&)>& adjust) {
  const fs::path folder = written_folder(path);
  auto [config, format] = read_config(folder);
  if (adjust) adjust(config);
  std::unique_ptr<CausalModel> model;
  try {
    model = make_causal_model(config);
  } catch (const Error& error) {
    fail((folder / "config.json").string(), ": ", error.what());
  }
  load_weights(folder, *format, config.num_layers, model->parameters(), memory, with_gradients);
  return model;
}

void save_causal_model(const fs::path& folder, CausalModel& model, const std::string& dtype) {
  const HuggingFaceFormat& format = format_of(model.config());
  const bool is_known = dtype == "F32" || dtype == "F16" || dtype == "BF16";
  require(is_known, "a model is saved as F32, F16 or BF16, not as \"", dtype, "\"");
  nlohmann::ordered_json config;
  config["architectures"] = {format.class_name};
  config["model_type"] = format.model_type;
  config["dtype"] = dtype == "F32" ? "float32" : dtype == "F16" ? "float16" : "bfloat16";
  format.write_config(model.config(), config);
  set_tokens(config, model.config());
  nlohmann::ordered_json generation;
  generation["_from_model_config"] = true;
  set_tokens(generation, model.config());
  Parameters& parameters = model.parameters();
  save_weights(folder, format, model.config().num_layers, parameters, parameters.memory(), dtype);
  write_file(folder / "config.json", config.dump(2) + "\n");
  write_file(folder / "generation_config.json", generation.dump(2) + "\n");
}

}  // namespace engine
