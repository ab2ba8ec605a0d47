// Model folders in the Hugging Face format: config.json and model.safetensors (or shards with an index).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/causal_model.h"
#include "models/encoder_model.h"

namespace engine {

// config.json of a folder; an error names the file and the key. Options that change the mathematics in a way that the
// engine does not do are errors, all other keys are passed over.
ModelConfig read_model_config(const std::filesystem::path& folder);

// The folder's model with its weights, memory on `memory`. Every tensor of the model must be there in its shape, and
// none besides (buffers that older versions saved, such as attention masks, are known and skipped; a tied output
// projection may be there and must then equal the embedding): else an error names it.
// `adjust` (optional) may change what is no part of the weights: the rates of dropout.
std::unique_ptr<CausalModel> load_causal_model(const std::filesystem::path& folder, Memory& memory, bool with_gradients,
                                               const std::function<void(ModelConfig&)>& adjust = {});

// What became of a folder's weights. Parts are "trunk", "pooler", "masked_head" and "classifier".
struct LoadReport {
  std::vector<std::string> loaded, fresh;  // parts of the model
  std::vector<std::string> left_out;       // tensors of the file that belong to other heads
  std::string text() const;                // "loaded trunk; new pooler, classifier; left out cls.predictions.bias"
};

// How an encoder is taken from a folder. As it stands: all parts of the folder's model, and only these.
struct EncoderRequest {
  std::optional<Head> head;         // another head than the folder's: its parts that the folder lacks are new
  std::vector<std::string> labels;  // the classes; empty: the folder's. Another number of them: a new classifier
  bool new_head = false;            // the head is new even where the folder has one that fits
  uint64_t seed = 1;                // of what is new
  std::function<void(ModelConfig&)> adjust = {};  // as above
  LoadReport* report = nullptr;
};
std::unique_ptr<EncoderModel> load_encoder_model(const std::filesystem::path& folder, Memory& memory,
                                                 bool with_gradients, const EncoderRequest& request = {});

// Writes config.json, model.safetensors and, of a decoder, generation_config.json into an existing folder (see
// write_folder in core/files.h to replace one whole). dtype: "F32", "F16" or "BF16".
void save_model(const std::filesystem::path& folder, Model& model, const std::string& dtype = "F32");

}  // namespace engine
