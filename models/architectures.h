// The table of architectures. A new one has a file of its own, and a row here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/huggingface_format.h"
#include "models/model.h"

namespace engine {

enum class ModelKind {
  decoder,         // predicts each token from those before it
  encoder,         // every token sees every other
  encoder_decoder  // a decoder that reads what an encoder made of a source, one for each sequence
};

struct Architecture {
  const char* name;
  ModelKind kind;
  // A new model with unset parameters: allocate, and then initialise or load them.
  std::unique_ptr<Model> (*make)(const ModelConfig& config);
  // Its formats on disk; the first that suits a model is written.
  std::vector<const HuggingFaceFormat& (*)()> formats;
  // What it is known for, where a configuration leaves it open.
  const char* activation = "gelu";
  float layer_norm_epsilon = 1e-5f;
  // Whether its folders tell the epsilon. Where they do not, another one would be lost when the model is saved.
  bool saves_epsilon = true;
  // Its own options at their defaults; null: it has none.
  std::unique_ptr<ArchitectureOptions> (*own_options)() = nullptr;
};

std::span<const Architecture> architectures();
// A UsageError where there is none of that name.
const Architecture& architecture_of(const ModelConfig& config);
std::string architecture_names(const std::vector<ModelKind>& kinds);  // "gpt2 or bart"

// Whether every sequence comes with a source that an encoder reads (Tokens::source_ids).
bool reads_source(const Model& model);
// Whether it can continue sequences.
bool generates(const Model& model);

// A new model of config.completed(), with unset parameters. kinds (optional): a UsageError where it is of no such kind.
std::unique_ptr<Model> make_model(const ModelConfig& config, const std::vector<ModelKind>& kinds = {});
inline const std::vector<ModelKind> generating_kinds{ModelKind::decoder, ModelKind::encoder_decoder};
inline const std::vector<ModelKind> encoder_kinds{ModelKind::encoder};

std::unique_ptr<Model> make_gpt2(const ModelConfig& config);
std::unique_ptr<Model> make_bert(const ModelConfig& config);
std::unique_ptr<Model> make_distilbert(const ModelConfig& config);
std::unique_ptr<Model> make_sinusoidal_encoder(const ModelConfig& config);
std::unique_ptr<Model> make_bart(const ModelConfig& config);

}  // namespace engine
