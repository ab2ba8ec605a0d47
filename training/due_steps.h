// DueSteps says after which steps a training logs, evaluates and saves. That is every so many steps, or n times an
// epoch. The part i of an epoch of T steps is done after its step ceil(i T / n), so that the last ends with the epoch.
#pragma once

#include "training/task.h"

namespace engine {

class DueSteps {
 public:
  // Throws a UsageError where parts of epochs are asked for and the data has no epochs, or has fewer steps in one.
  DueSteps(const TrainingConfig& config, Task& task);

  // Steps are counted from 1.
  bool logs(int64_t step) const { return is_due(config_.log_every, 0, step); }
  bool evaluates(int64_t step) const { return is_due(config_.eval_every, config_.evals_per_epoch, step); }
  bool saves(int64_t step) const { return is_due(config_.save_every, config_.saves_per_epoch, step); }
  bool any(int64_t step) const { return logs(step) || evaluates(step) || saves(step); }

 private:
  bool is_due(int64_t every, int64_t parts, int64_t step) const;

  const TrainingConfig& config_;
  Task& task_;
};

}  // namespace engine
