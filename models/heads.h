// Heads of encoders: what turns rows of hidden states into the features that the output projection reads.
#pragma once

#include <optional>

#include "models/layers.h"

namespace engine {

// features = drop(norm(act(dense(rows)))), each part optional.
struct FeatureHead {
  struct Saved {
    Tensor before;  // [R, E], before the activation
    ResidualNorm::Saved norm;
  };
  std::optional<Linear> dense;
  Activation activation = Activation::none;
  std::optional<ResidualNorm> norm;
  DropoutLayer dropout;  // of rows that are one a sequence

  // rows [R, C] in pass.compute, and so the result [R, E], on pass.arena.
  Tensor forward(Pass& pass, const Tensor& rows, Saved& saved) const;
  Tensor backward(Pass& pass, const Tensor& dfeatures, const Tensor& rows, const Saved& saved) const;
};

}  // namespace engine
