// CausalModel: a decoder that predicts each token from those before it, and can go on from what a cache holds; it may
// have an encoder of its own, which reads the source of each sequence (Tokens::source).
#pragma once

#include "models/model.h"

namespace engine {

class CausalModel : public Model {
 public:
  using Model::Model;
};

// A new model of config.architecture with unset parameters: allocate and then initialise or load them.
std::unique_ptr<CausalModel> make_causal_model(const ModelConfig& config);

}  // namespace engine
