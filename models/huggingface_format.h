// What an architecture is called in the Hugging Face format: its config's keys and its tensors' names. A new
// architecture brings one HuggingFaceFormat, which its row in architectures.cc names.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/config.h"

namespace engine {

// "*" in both names is the layer's number.
struct TensorNames {
  std::string ours;
  std::string theirs;
  bool transposed = false;  // theirs is [inputs, outputs]
  int part = 0, parts = 1;  // theirs are our rows of this part, of as many equal ones one below the other: q of q|k|v
};

struct HuggingFaceFormat {
  const char* architecture;           // of ModelConfig
  const char* model_type;             // of config.json
  // What config.json calls a model by its head, "architectures"; of several for a head the first is written.
  struct Class {
    const char* name;
    HeadKind head = HeadKind::none;
    bool has_prefix = true;           // whether its tensors are saved with the prefix
  };
  std::vector<Class> classes;
  const char* prefix;                 // of every tensor but the head's; a file may leave it out
  std::vector<TensorNames> names;
  // What a file may hold beside the parameters: tensors that must equal another (tied), and buffers, which are skipped.
  struct Tied {
    const char* name;
    const char* same_as;
    const char* parameter;  // matters to models that have this parameter
  };
  std::vector<Tied> tied;
  std::vector<const char*> buffers;
  std::vector<const char*> other_heads;  // tensors of heads that are not done here: left out
  // A bias of the logits that is not trained, [1, V] in files (absent: none), and where a config holds it.
  const char* logits_bias = nullptr;
  std::vector<float>& (*logits_bias_of)(ModelConfig& config) = nullptr;
  // An architecture with several formats is written in the first that suits the model; nullptr: every model.
  bool (*suits)(const ModelConfig& config) = nullptr;
  // `where` is the config's path, for errors.
  ModelConfig (*read_config)(const nlohmann::json& config, const std::string& where);
  void (*write_config)(const ModelConfig& config, nlohmann::ordered_json& result);
  // Tokens of its own that config.json and generation_config.json hold beside the common ones; nullptr: none.
  void (*read_generation)(const nlohmann::json& tokens, const std::string& where, ModelConfig& config) = nullptr;
  void (*write_tokens)(const ModelConfig& config, nlohmann::ordered_json& result) = nullptr;
};

const HuggingFaceFormat& gpt2_format();
const HuggingFaceFormat& bart_format();
const HuggingFaceFormat& own_bart_format();  // behind it: for positions that BART does not have
const HuggingFaceFormat& bert_format();
const HuggingFaceFormat& distilbert_format();
const HuggingFaceFormat& sinusoidal_encoder_format();

// These serve more than one architecture's config.
std::string activation_from_huggingface(const std::string& name, const std::string& where);
std::string activation_to_huggingface(const std::string& name);
// A token's id; -1 where it is null or outside the vocabulary (and so never occurs).
int32_t token_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where,
                               int64_t vocab_size, int32_t absent);
// An option that changes the mathematics in a way that the engine does not do must have this value, or be absent.
void require_option(const nlohmann::json& config, const char* key, bool value, const std::string& where);
float dropout_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where, double absent);
float epsilon_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where, double absent);
float initializer_range_from_huggingface(const nlohmann::json& config, const std::string& where);
void token_to_huggingface(nlohmann::ordered_json& config, const char* key, int32_t token);  // null where it is -1
// The classes' names, "id2label"; else "num_labels" of them, else two: LABEL_0, LABEL_1.
std::vector<std::string> labels_from_huggingface(const nlohmann::json& config, const std::string& where);
void labels_to_huggingface(const ModelConfig& config, nlohmann::ordered_json& result);
double decimal(float value);  // the double that is written with as few digits as the float: 0.1, not 0.10000000149

}  // namespace engine
