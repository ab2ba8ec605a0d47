// Model folders in the Hugging Face format: config.json and model.safetensors (or shards with an index).
#pragma once

#include <filesystem>
#include <memory>

#include "models/causal_model.h"

namespace engine {

// config.json of a folder; an error names the file and the key.
ModelConfig read_model_config(const std::filesystem::path& folder);

// The folder's model with its weights, memory on `memory`. Every tensor of the model must be there in its shape, and none
// besides (buffers that older versions saved, such as attention masks, are known and skipped): else an error names it.
std::unique_ptr<CausalModel> load_causal_model(const std::filesystem::path& folder, Memory& memory, bool with_gradients);

// Writes config.json, model.safetensors and generation_config.json into an existing folder. dtype: "F32", "F16", "BF16".
void save_causal_model(const std::filesystem::path& folder, CausalModel& model, const std::string& dtype = "F32");

}  // namespace engine
