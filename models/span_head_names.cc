// The config key and the tensor names of heads that answer questions.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "models/huggingface_format.h"

namespace engine {

using nlohmann::json;

std::vector<TensorNames> with_span_names(std::vector<TensorNames> names) {
  for (const char* name : {"qa_outputs.weight", "qa_outputs.bias", "span_dense.dense.weight", "span_dense.dense.bias",
                           "span_dense.outputs.weight", "span_order.weight"})
    names.push_back({name, name});
  return names;
}

void read_span_head(const json& config, const std::string& where, ModelConfig& result) {
  if (!json_has(config, span_head_key, where)) return;
  const json& parts = config[span_head_key];
  const std::string inside = where + ": " + span_head_key;
  if (!parts.is_object()) fail(where, ": \"", span_head_key, "\" should be an object");
  result.span_dense = json_bool(parts, "dense", inside, false);
  result.span_order = json_string(parts, "order", inside, ModelConfig::independent_spans);
}

void write_span_head(const ModelConfig& config, nlohmann::ordered_json& result) {
  if (!config.has_span_parts()) return;
  for (const auto& [key, prefix] : {std::pair{"model_type", own_type}, {"architectures", own_class}}) {
    nlohmann::ordered_json& name = result[key].is_array() ? result[key][0] : result[key];
    name = prefix + name.get<std::string>();
  }
  result[span_head_key] = {{"dense", config.span_dense}, {"order", config.span_order}};
}

}  // namespace engine
