// The metric that chooses a training's best model.
#pragma once

#include <string>
#include <utility>

#include "training/task.h"

namespace engine {

// Returns its name and whether more of it is better: training.best_metric, or else the task's choice. Throws a
// UsageError where the task measures none of that name.
std::pair<std::string, bool> best_metric(const Config& config, const Task& task);

}  // namespace engine
