#pragma once

#include "models/causal_model.h"

namespace engine {

std::unique_ptr<CausalModel> make_bart(const ModelConfig& config);

}  // namespace engine
