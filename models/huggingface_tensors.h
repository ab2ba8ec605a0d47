// The weights of a model folder: which tensor of the file is which parameter, and the copies between them.
#pragma once

#include <filesystem>

#include "core/memory.h"
#include "models/huggingface_format.h"
#include "models/parameters.h"

namespace engine {

// Allocates the parameters and fills them from model.safetensors, or the shards of model.safetensors.index.json.
// Nothing is allocated before every tensor is known to be there in its shape; the error lists what is missing,
// misshapen or unknown.
void load_weights(const std::filesystem::path& folder, const HuggingFaceFormat& format, int64_t layers,
                  Parameters& parameters, Memory& memory, bool with_gradients);

// Writes model.safetensors; dtype "F32", "F16" or "BF16".
void save_weights(const std::filesystem::path& folder, const HuggingFaceFormat& format, int64_t layers,
                  Parameters& parameters, Memory& memory, const std::string& dtype);

}  // namespace engine
