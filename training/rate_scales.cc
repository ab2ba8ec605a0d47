#include "training/rate_scales.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/options.h"

namespace engine {

namespace {

bool begins_with(const std::string& name, const std::string& beginning) {
  return name.starts_with(beginning) && (name.size() == beginning.size() || name[beginning.size()] == '.');
}

// Returns the whole names and all their beginnings.
std::vector<std::string> beginnings_of(const Parameters& parameters) {
  std::vector<std::string> result;
  for (const Parameter& p : parameters.all())
    for (size_t end = 0; end != std::string::npos;) {
      end = p.name.find('.', end + 1);
      result.push_back(p.name.substr(0, end));
    }
  return result;
}

std::map<std::string, float> factors_of(const std::vector<std::string>& entries, const Parameters& parameters) {
  std::map<std::string, float> factors;
  for (const std::string& entry : entries) {
    const size_t colon = entry.rfind(':');
    const std::string name = entry.substr(0, colon), number = colon == std::string::npos ? "" : entry.substr(colon + 1);
    float factor = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), factor);
    if (error != std::errc{} || end != number.data() + number.size() || !(factor >= 0) || !std::isfinite(factor))
      fail_usage("training.learning_rate_scales: \"", entry,
                 "\" must be the beginning of a parameter's name and a factor of at least 0, such as \"embedding:0\"");
    const auto& all = parameters.all();
    if (std::none_of(all.begin(), all.end(), [&](const Parameter& p) { return begins_with(p.name, name); }))
      fail_usage("training.learning_rate_scales: no parameter's name begins with \"", name, "\"; the nearest is ",
                 nearest_name(name, beginnings_of(parameters)));
    if (!factors.emplace(name, factor).second)
      fail_usage("training.learning_rate_scales: \"", name, "\" is there twice");
  }
  return factors;
}

float factor_of(const std::string& name, const std::map<std::string, float>& factors) {
  size_t longest = 0;
  float factor = 1;
  for (const auto& [beginning, value] : factors) {
    if (beginning.size() < longest || !begins_with(name, beginning)) continue;
    longest = beginning.size();
    factor = value;
  }
  return factor;
}

// Returns the stack of layers that a name belongs to, "encoder.", "decoder." or "".
std::string stack_of(const std::string& name) { return name.substr(0, name.find("layers.")); }

}  // namespace

std::vector<float> rate_scales(const Parameters& parameters, const TrainingConfig& config) {
  const std::map<std::string, float> factors = factors_of(config.learning_rate_scales, parameters);
  std::map<std::string, int64_t> layers;  // the layers of each stack
  for (const Parameter& p : parameters.all()) {
    const int64_t count = layer_of(p.name) + 1;
    if (count > 0) layers[stack_of(p.name)] = std::max(layers[stack_of(p.name)], count);
  }
  const auto depth_of = [&](const std::string& name) {
    if (const int64_t layer = layer_of(name); layer >= 0) return layers.at(stack_of(name)) - layer;
    const bool is_embedding = begins_with(name, "embedding") || name.find(".embedding.") != std::string::npos;
    return is_embedding ? parameters.layers() + 1 : int64_t{0};
  };
  std::vector<float> scales;
  for (const Parameter& p : parameters.all())
    scales.push_back(factor_of(p.name, factors) * std::pow(config.layer_decay, static_cast<float>(depth_of(p.name))));
  if (std::all_of(scales.begin(), scales.end(), [](float scale) { return scale == 0; }))
    fail_usage("training.learning_rate_scales leaves no parameter to train: every one has the factor 0");
  return scales;
}

}  // namespace engine
