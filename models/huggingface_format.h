// What an architecture is called in the Hugging Face format: its config's keys and its tensors' names. A new
// architecture brings one HuggingFaceFormat, in a file of its own, and is listed in huggingface.cc.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/config.h"

namespace engine {

// "*" in both names is the layer's number.
struct TensorNames {
  const char* ours;
  const char* theirs;
  bool transposed = false;  // theirs is [inputs, outputs]
};

struct HuggingFaceFormat {
  const char* architecture;           // of ModelConfig
  const char* model_type;             // of config.json
  const char* class_name;             // of config.json, "architectures"
  const char* prefix;                 // of every tensor but the head's; a file may leave it out
  std::vector<TensorNames> names;
  // What a file may hold beside the parameters: tensors that must equal another (tied), and buffers, which are skipped.
  struct Tied {
    const char* name;
    const char* same_as;
  };
  std::vector<Tied> tied;
  std::vector<const char*> buffers;
  // `where` is the config's path, for errors.
  ModelConfig (*read_config)(const nlohmann::json& config, const std::string& where);
  void (*write_config)(const ModelConfig& config, nlohmann::ordered_json& result);
};

const HuggingFaceFormat& gpt2_format();

// What more than one architecture's config needs.
std::string activation_from_huggingface(const std::string& name, const std::string& where);
std::string activation_to_huggingface(const std::string& name);
// A token's id; -1 where it is null or outside the vocabulary (and so never occurs).
int32_t token_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where,
                               int64_t vocab_size, int32_t absent);
// An option that changes the mathematics in a way that the engine does not do must have this value, or be absent.
void require_option(const nlohmann::json& config, const char* key, bool value, const std::string& where);
double decimal(float value);  // the double that is written with as few digits as the float: 0.1, not 0.10000000149

}  // namespace engine
