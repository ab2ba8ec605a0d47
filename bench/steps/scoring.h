// Whole passes without gradients, as searches for thoughts and questions with choices make them.
#pragma once

#include <vector>

#include "core/random.h"
#include "models/cached_scorer.h"

namespace engine {

// Scores every token but the first of each row, in pieces behind their thoughts where the model has thought states.
// Returns the mean loss.
float score_rows(CachedScorer& scorer, const std::vector<std::vector<int32_t>>& rows);

// Searches places for `passes` thoughts in all rows together, by tokens. Returns the mean gain of the trials.
float search_rows(CachedScorer& scorer, int32_t thought, const std::vector<std::vector<int32_t>>& rows, int64_t passes);

}  // namespace engine
