#pragma once

#include "models/causal_model.h"

namespace engine {

std::unique_ptr<CausalModel> make_gpt2(const ModelConfig& config);

}  // namespace engine
