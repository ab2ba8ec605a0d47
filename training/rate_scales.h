// Each parameter's learning rate has a factor, by training.learning_rate_scales ("embedding:0", by the beginning of its
// name) and training.layer_decay (by its depth). A factor of 0 freezes it.
#pragma once

#include <vector>

#include "models/parameters.h"
#include "training/config.h"

namespace engine {

// Returns one factor for each parameter, in the table's order. It is that of the longest name in learning_rate_scales
// that its own name begins with, else 1, times layer_decay^d. Names begin by whole parts, so "layers.1" is not the
// beginning of "layers.10.norm1.gain". In a model (or its encoder, its decoder) with L layers d is L - i in layer i
// (from 0), L + 1 in the embeddings and 0 in all others, which are the head and what stands before it. Throws a
// UsageError where an entry is no "NAME:FACTOR", names no parameter or is there twice, and where every parameter would
// be frozen.
std::vector<float> rate_scales(const Parameters& parameters, const TrainingConfig& config);

}  // namespace engine
