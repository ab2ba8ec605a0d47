// What each parameter's learning rate is multiplied with: by training.learning_rate_scales ("embedding:0", by the
// beginning of its name) and training.layer_decay (by its depth). 0: it stays as it is.
#pragma once

#include <vector>

#include "models/parameters.h"
#include "training/config.h"

namespace engine {

// One for each parameter, in the table's order: the factor of the longest name in learning_rate_scales that its own
// begins with (whole parts of it: "layers.1" is not the beginning of "layers.10.norm1.gain"), else 1, times
// layer_decay^d. Of a model (or of its encoder, its decoder) with L layers d is L - i in layer i (from 0), L + 1 in the
// embeddings and 0 in all others, which are the head and what stands before it. A UsageError where an entry is no
// "NAME:FACTOR", names no parameter or is there twice, and where every parameter would stay as it is.
std::vector<float> rate_scales(const Parameters& parameters, const TrainingConfig& config);

}  // namespace engine
