// The table of architectures. A new one has a file of its own, and a row here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/config.h"
#include "models/model.h"

namespace engine {

struct HuggingFaceFormat;  // models/huggingface_format.h

enum class ModelKind {
  decoder,         // predicts each token from those before it
  encoder,         // every token sees every other
  encoder_decoder  // a decoder and an encoder, which reads a source for each sequence
};

struct Architecture {
  const char* name;
  ModelKind kind;
  // Makes a model with unset parameters. The caller allocates, and then initialises or loads them.
  std::unique_ptr<Model> (*make)(const ModelConfig& config);
  // Its formats on disk. A model is saved in the first that suits it.
  std::vector<const HuggingFaceFormat& (*)()> formats;
  // Values that a configuration may leave open.
  const char* activation = "gelu";
  float layer_norm_epsilon = 1e-5f;
  // Tells whether its folders hold the epsilon. Where they do not, another one would be lost when the model is saved.
  bool saves_epsilon = true;
  // Tells whether it has attention and a feed-forward part, whose options are refused elsewhere.
  bool has_attention = true;
  // Make its own options at their defaults. Architectures may share some.
  std::vector<std::unique_ptr<ArchitectureOptions> (*)()> own_options = {};
};

std::span<const Architecture> architectures();
// Throws a UsageError where no architecture has that name.
const Architecture& architecture_of(const ModelConfig& config);
std::string architecture_names(const std::vector<ModelKind>& kinds);  // "gpt2 or bart"

// Tells whether every sequence comes with a source that an encoder reads (Tokens::source_ids).
bool reads_source(const Model& model);
// Tells whether the model can continue sequences.
bool generates(const Model& model);

// Makes a model of config.completed(), with unset parameters. Throws a UsageError where kinds (optional) lack its kind.
std::unique_ptr<Model> make_model(const ModelConfig& config, const std::vector<ModelKind>& kinds = {});
inline const std::vector<ModelKind> generating_kinds{ModelKind::decoder, ModelKind::encoder_decoder};
inline const std::vector<ModelKind> encoder_kinds{ModelKind::encoder};

std::unique_ptr<Model> make_gpt2(const ModelConfig& config);
std::unique_ptr<Model> make_gpt_neox(const ModelConfig& config);
std::unique_ptr<Model> make_bert(const ModelConfig& config);
std::unique_ptr<Model> make_distilbert(const ModelConfig& config);
std::unique_ptr<Model> make_roberta(const ModelConfig& config);
std::unique_ptr<Model> make_rembert(const ModelConfig& config);
std::unique_ptr<Model> make_sinusoidal_encoder(const ModelConfig& config);
std::unique_ptr<Model> make_bart(const ModelConfig& config);
std::unique_ptr<Model> make_lstm(const ModelConfig& config);

}  // namespace engine
