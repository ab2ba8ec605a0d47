// Model folders in the Hugging Face format: config.json and model.safetensors (or shards with an index).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "models/causal_model.h"

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

// Writes config.json, model.safetensors and generation_config.json into an existing folder (see write_folder in
// core/files.h to replace one whole). dtype: "F32", "F16" or "BF16".
void save_causal_model(const std::filesystem::path& folder, CausalModel& model, const std::string& dtype = "F32");

}  // namespace engine
