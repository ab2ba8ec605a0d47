// A HuggingFaceFormat names an architecture's config keys and tensors in the Hugging Face format. A new architecture
// brings one, and its row in architectures.cc names it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/config.h"

namespace engine {

// Names one tensor of a file and its parameter. A "*" in both names is the layer's number.
struct TensorNames {
  std::string ours;
  std::string theirs;
  bool transposed = false;  // theirs is [inputs, outputs]
  // Theirs holds the rows of one of our `parts` equal parts, which lie one below the other: q of q|k|v.
  int part = 0, parts = 1;
  // Theirs has q, k and v of each head side by side, [H, 3, D] rows where ours are [3, H, D].
  bool by_head = false;
};

struct HuggingFaceFormat {
  const char* architecture;           // the name in ModelConfig
  const char* model_type;             // the name in config.json
  // A name in "architectures" of config.json tells the head. The first one of a head is written.
  struct Class {
    const char* name;
    HeadKind head = HeadKind::none;
    bool has_prefix = true;           // its tensors are saved with it
  };
  std::vector<Class> classes;
  const char* prefix;                 // begins all names but the head's; a file may leave it out
  std::vector<TensorNames> names;
  // General keys of transformers' configs and the architecture's own ones ("hidden_size", "n_embd"). Where a file has
  // both, transformers lets the general one count.
  std::vector<std::pair<const char*, const char*>> general_keys = {};
  // A tied tensor is the same as another. A file may hold either of them, or both.
  struct Tied {
    const char* name;
    const char* same_as;
    const char* parameter;    // matters to models that have this parameter
    const char* unless = "";  // and lack this one, which a model has whose file holds both, with different values
    // Tells what counts of two tensors that differ where that cannot be. If the other one counts, transformers reads
    // nothing of this one but saves it; so it is saved as a copy, and no tensor seems to be missing.
    enum class Counting { neither, this_one, the_other } counts = Counting::neither;
  };
  std::vector<Tied> tied = {};
  // These hold, too, where config.json ties the embeddings, and they differ in the file.
  std::vector<Tied> tied_by_config = {};
  std::vector<const char*> buffers = {};  // are skipped
  // Keys of rates at which transformers leaves out whole layers in training. Nothing here does, so they must then be 0.
  std::vector<const char*> layer_drops = {};
  // The file's name of a bias of the logits that is not trained, [1, V], and its place in a config. nullptr: none.
  const char* logits_bias = nullptr;
  std::vector<float>& (*logits_bias_of)(ModelConfig& config) = nullptr;
  // An architecture with several formats is written in the first that suits the model; nullptr: every model.
  bool (*suits)(const ModelConfig& config) = nullptr;
  // `where` is the config's path, for errors.
  ModelConfig (*read_config)(const nlohmann::json& config, const std::string& where);
  void (*write_config)(const ModelConfig& config, nlohmann::ordered_json& result);
  // Reads and writes the architecture's own tokens in config.json and generation_config.json; nullptr: it has none.
  void (*read_generation)(const nlohmann::json& tokens, const std::string& where, ModelConfig& config) = nullptr;
  void (*write_tokens)(const ModelConfig& config, nlohmann::ordered_json& result) = nullptr;
};

const HuggingFaceFormat& gpt2_format();
const HuggingFaceFormat& own_gpt2_format();  // serves rotary positions, which GPT-2 does not have
const HuggingFaceFormat& gpt_neox_format();
const HuggingFaceFormat& bart_format();
const HuggingFaceFormat& own_bart_format();  // serves positions that BART does not have
const HuggingFaceFormat& bert_format();
const HuggingFaceFormat& distilbert_format();
const HuggingFaceFormat& roberta_format();
const HuggingFaceFormat& xlm_roberta_format();
const HuggingFaceFormat& rembert_format();
const HuggingFaceFormat& sinusoidal_encoder_format();
const HuggingFaceFormat& lstm_format();

// Adds the names of a head that answers questions to those of a trunk and its other heads.
std::vector<TensorNames> with_span_names(std::vector<TensorNames> names);
// Names the parameters of thought states.
const std::vector<TensorNames>& thought_names();
// Keys of config.json of this engine's own tell the parts that transformers does not have, which are those of a head
// for answers (models/span_head.h) and thought states. Their folder also gets a model_type and a class of this engine's
// own, so that transformers refuses it, instead of leaving parts out.
inline constexpr const char *own_type = "engine_", *own_class = "Engine";
bool has_own_parts(const nlohmann::json& config, const std::string& where);
void read_own_parts(const nlohmann::json& config, const std::string& where, ModelConfig& result);
void write_own_parts(const ModelConfig& config, nlohmann::ordered_json& result);

// These serve more than one architecture's config.
std::string activation_from_huggingface(const std::string& name, const std::string& where);
std::string activation_to_huggingface(const std::string& name);
// Reads a token's id; -1 where it is null or outside the vocabulary (and so never occurs).
int32_t token_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where,
                               int64_t vocab_size, int32_t absent);
// Reads one token's id or a list of them, without those that are outside the vocabulary.
std::vector<int32_t> tokens_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where,
                                             int64_t vocab_size, int32_t absent);
// Writes a list where there are several, a number where there is one, and null where there is none.
void tokens_to_huggingface(nlohmann::ordered_json& config, const char* key, const std::vector<int32_t>& tokens);
// An option that changes the mathematics in a way that the engine does not do must have this value, or be absent.
void require_option(const nlohmann::json& config, const char* key, bool value, const std::string& where);
float dropout_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where, double absent);
float epsilon_from_huggingface(const nlohmann::json& config, const char* key, const std::string& where, double absent);
float initializer_range_from_huggingface(const nlohmann::json& config, const std::string& where);
void token_to_huggingface(nlohmann::ordered_json& config, const char* key, int32_t token);  // null where it is -1
// Reads the classes' names, "id2label". Without them there are "num_labels" classes or two: LABEL_0, LABEL_1.
std::vector<std::string> labels_from_huggingface(const nlohmann::json& config, const std::string& where);
void labels_to_huggingface(const ModelConfig& config, nlohmann::ordered_json& result);
// Returns the double that is written with as few digits as the float: 0.1, not 0.10000000149.
double decimal(float value);

}  // namespace engine
