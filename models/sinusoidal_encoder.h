#pragma once

#include "models/encoder_model.h"

namespace engine {

std::unique_ptr<EncoderModel> make_sinusoidal_encoder(const ModelConfig& config);

}  // namespace engine
