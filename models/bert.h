#pragma once

#include "models/encoder_model.h"

namespace engine {

// config.architecture "bert" or "distilbert" (no token types; a classifier reads relu where BERT's reads tanh).
std::unique_ptr<EncoderModel> make_bert(const ModelConfig& config);

}  // namespace engine
