// The config keys and the tensor names of parts that transformers' models do not have.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "models/huggingface_format.h"

namespace engine {

using nlohmann::json;

namespace {

constexpr const char *span_head_key = "engine_span_head", *thought_key = "engine_thought_states";

// Returns the object that the config has under the key, or null.
const json* parts_under(const char* key, const json& config, const std::string& where) {
  if (!json_has(config, key, where)) return nullptr;
  if (!config[key].is_object()) fail(where, ": \"", key, "\" should be an object");
  return &config[key];
}

}  // namespace

std::vector<TensorNames> with_span_names(std::vector<TensorNames> names) {
  for (const char* name : {"qa_outputs.weight", "qa_outputs.bias", "span_dense.dense.weight", "span_dense.dense.bias",
                           "span_dense.outputs.weight", "span_order.weight"})
    names.push_back({name, name});
  return names;
}

const std::vector<TensorNames>& thought_names() {
  static const std::vector<TensorNames> names{{"thought.mixture.capture", "thought.mixture.capture"},
                                              {"thought.mixture.inject", "thought.mixture.inject"},
                                              {"thought.norm.gain", "thought.norm.weight"},
                                              {"thought.norm.bias", "thought.norm.bias"}};
  return names;
}

bool has_own_parts(const json& config, const std::string& where) {
  const std::array keys{span_head_key, thought_key};
  return std::any_of(keys.begin(), keys.end(), [&](const char* key) { return json_has(config, key, where); });
}

void read_own_parts(const json& config, const std::string& where, ModelConfig& result) {
  if (const json* const parts = parts_under(span_head_key, config, where)) {
    const std::string inside = where + ": " + span_head_key;
    result.span_dense = json_bool(*parts, "dense", inside, false);
    result.span_order = json_string(*parts, "order", inside, ModelConfig::independent_spans);
  }
  if (const json* const parts = parts_under(thought_key, config, where)) {
    const std::string inside = where + ": " + thought_key;
    result.thought_states = true;
    result.thought_norm = json_bool(*parts, "norm", inside, true);
    result.thought_token = static_cast<int32_t>(json_integer(*parts, "token", inside, 0, result.vocab_size - 1));
  }
}

void write_own_parts(const ModelConfig& config, nlohmann::ordered_json& result) {
  if (config.has_span_parts())
    result[span_head_key] = {{"dense", config.span_dense}, {"order", config.span_order}};
  if (config.thought_states)
    result[thought_key] = {{"token", config.thought_token}, {"norm", config.thought_norm}};
  if (!config.has_span_parts() && !config.thought_states) return;
  for (const auto& [key, prefix] : {std::pair{"model_type", own_type}, {"architectures", own_class}}) {
    nlohmann::ordered_json& name = result[key].is_array() ? result[key][0] : result[key];
    name = prefix + name.get<std::string>();
  }
}

}  // namespace engine
