// Random positions (models/positions.h): a row of n positions reads n different ones out of the first m, in ascending
// order, with m even on n ... max_positions.
#pragma once

#include "training/batch.h"

namespace engine {

// Returns the positions of the tokens of sequences first ... last-1. Those of a sequence are a function of the seed,
// the step and its place in the batch. A token with position p in the batch gets the (p+1)th that its sequence drew.
std::vector<int32_t> draw_positions(const SequenceBatch& batch, int64_t first, int64_t last, int64_t max_positions,
                                    uint64_t seed, uint32_t step);

}  // namespace engine
