// Reads and writes the weights of a model folder: matches tensors of the file with parameters and copies between them.
#pragma once

#include <filesystem>
#include <set>

#include "core/memory.h"
#include "models/huggingface.h"
#include "models/huggingface_format.h"
#include "models/parameters.h"

namespace engine {

// A part of a model is a parameter's name up to the first dot, if that is one of these. Everything else is "trunk".
inline const std::set<std::string> parts_beside_trunk{"pooler",     "masked_head", "classifier",
                                                         "qa_outputs", "span_dense",  "span_order", "thought"};

// Names parts of a model that may be new.
struct NewParts {
  std::set<std::string> allowed;      // new where the file's do not fit
  std::set<std::string> always = {};  // new whatever the file has
  uint64_t seed = 1;
  // Tokens of the folder's vocabulary and of the model's, where this has more: rows of the tokens behind are new.
  int64_t known_tokens = 0, tokens = 0;
};

// Allocates the parameters and fills them from model.safetensors, or the shards of model.safetensors.index.json.
// Nothing is allocated before every tensor is known to be there in its shape, or to be new. The error lists the missing
// and misshapen ones. `matrices` is what Parameters::allocate takes. The file's bytes are not all in memory at a time.
LoadReport load_weights(const std::filesystem::path& folder, const HuggingFaceFormat& format, const ModelConfig& config,
                        Parameters& parameters, Memory& memory, bool with_gradients, DType matrices = DType::f32,
                        const NewParts& new_parts = {});

// Whether the folder's weights hold the tensor of this name, with or without the format's prefix.
bool has_tensor(const std::filesystem::path& folder, const HuggingFaceFormat& format, const std::string& name);

// Tells whether the folder's weights have both tensors of a pair that a model's config ties, with different values.
bool has_untied_tensors(const std::filesystem::path& folder, const HuggingFaceFormat& format);

// Reads the folder's fixed bias of the logits; empty where the format or the folder has none, or it is all zeros.
std::vector<float> read_logits_bias(const std::filesystem::path& folder, const HuggingFaceFormat& format,
                                    int64_t vocab_size);

// Writes model.safetensors; dtype "F32", "F16" or "BF16".
void save_weights(const std::filesystem::path& folder, const HuggingFaceFormat& format, const ModelConfig& config,
                  Parameters& parameters, const std::string& dtype);

const HuggingFaceFormat::Class& class_of(const HuggingFaceFormat& format, HeadKind head);

}  // namespace engine
