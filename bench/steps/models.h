// The models of the whole-step benchmarks, by their names there.
#pragma once

#include <string>

#include "models/config.h"

namespace engine {

bool is_encoder_decoder(const std::string& model);
ModelConfig config_of(const std::string& model);

}  // namespace engine
