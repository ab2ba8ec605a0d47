// The questions of a training, from files that may be larger than memory.
#pragma once

#include <functional>

#include "tasks/squad/recipe.h"
#include "training/config.h"

namespace engine {

// Counts of what was read beside the questions that came of it.
struct ReadCounts {
  int64_t moved = 0, lost = 0, blank = 0;  // as QuestionSet has them
  RecipeCounts recipe;
};

// Calls take(questions) for the questions of data.train piece by piece: in the languages that are asked for, without
// the fold that is kept, with the shares of their files, data.train_share of them spread evenly, and changed by the
// recipe (recipe.h). Files are read once more where something depends on all of their questions.
ReadCounts each_piece_of_training(const Config& config, const SquadConfig& own,
                                  const std::function<void(QuestionSet)>& take);

}  // namespace engine
