// Model folders in the Hugging Face format: config.json and model.safetensors (or shards with an index).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/architectures.h"

namespace engine {

// config.json of a folder; an error names the file and the key. Options that change the mathematics in a way that the
// engine does not do are errors, all other keys are passed over.
ModelConfig read_model_config(const std::filesystem::path& folder);

// What became of a folder's weights. Parts are "trunk", "pooler", "masked_head" and "classifier".
struct LoadReport {
  std::vector<std::string> loaded, fresh;  // parts of the model
  std::vector<std::string> left_out;       // tensors of the file that belong to other heads
  std::string text() const;                // "loaded trunk; new pooler, classifier; left out cls.predictions.bias"
};

// How a model is taken from a folder. As it stands: all parts of the folder's model, and only these.
struct LoadRequest {
  std::vector<ModelKind> kinds;     // those that it may be; empty: any
  std::optional<HeadKind> head;     // another head than the folder's: its parts that the folder lacks are new
  std::vector<std::string> labels;  // the classes; empty: the folder's. Another number of them: a new classifier
  bool new_head = false;            // the head is new even where the folder has one that fits
  uint64_t seed = 1;                // of what is new
  // May change what is no part of the weights: the rates of dropout.
  std::function<void(ModelConfig&)> adjust = {};
  LoadReport* report = nullptr;
};
// The folder's model with its weights, memory on `memory`. Every tensor of the model must be there in its shape, and
// none besides: else an error names it. Buffers that older versions saved, such as attention masks, are known and
// skipped. A tied output projection may be there and must then equal the embedding.
std::unique_ptr<Model> load_model(const std::filesystem::path& folder, Memory& memory, bool with_gradients,
                                  const LoadRequest& request = {});

// Writes config.json, model.safetensors and, for models that generate, generation_config.json into an existing folder
// (see write_folder in core/files.h to replace one whole). dtype: "F32", "F16" or "BF16".
void save_model(const std::filesystem::path& folder, Model& model, const std::string& dtype = "F32");

}  // namespace engine
