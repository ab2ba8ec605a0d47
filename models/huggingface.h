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

// Reads config.json of a folder. An error names the file and the key. Options that change the mathematics in a way that
// the engine does not do are errors, and all other keys are passed over.
ModelConfig read_model_config(const std::filesystem::path& folder);

// Tells what became of a folder's weights. Parts are "trunk", "pooler", "masked_head", "classifier" and
// "qa_outputs".
struct LoadReport {
  std::vector<std::string> loaded, fresh;  // parts of the model
  std::vector<std::string> left_out;       // the file's tensors of other models
  int64_t new_tokens = 0;                  // tokens behind the folder's vocabulary
  bool has_untied = false;                 // tables that config.json ties, but that differ
  std::string text() const;                // "loaded trunk; new pooler, classifier; left out cls.predictions.bias"
};

// Says how a model is taken from a folder. By default it is the folder's model with all its parts.
struct LoadRequest {
  std::vector<ModelKind> kinds;  // allowed kinds; empty: any
  // Another head than the folder's is loaded as far as the folder has its parts. The others are new.
  std::optional<HeadKind> head;
  // The names of the classes; empty: the folder's. Another number of them makes the classifier new.
  std::vector<std::string> labels;
  bool new_head = false;  // never loads the folder's head
  int64_t tokens = 0;     // of the vocabulary, where that is more than the folder's: the rows of the others are new
  uint64_t seed = 1;      // draws the new parts
  // The dtype of matrices (Parameters::allocate). For a model that is only read it may be that of its passes.
  DType matrices = DType::f32;
  // May change the rates of dropout, which are no part of the weights.
  std::function<void(ModelConfig&)> adjust = {};
  LoadReport* report = nullptr;
};
// Loads the folder's model with its weights into `memory`. Every tensor of the model must be there in its shape, else
// an error names it. The report names tensors that the model does not have; buffers that older versions saved, such as
// attention masks, are skipped. Of tied tensors either may be there, or both. Where tables of tokens differ, the model
// is untied, as in transformers.
std::unique_ptr<Model> load_model(const std::filesystem::path& folder, Memory& memory, bool with_gradients,
                                  const LoadRequest& request = {});

// Writes config.json, model.safetensors and, for models that generate, generation_config.json into an existing folder
// (see write_folder in core/files.h to replace one whole). dtype: "F32", "F16" or "BF16".
void save_model(const std::filesystem::path& folder, Model& model, const std::string& dtype = "F32");

}  // namespace engine
