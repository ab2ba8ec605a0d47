#include "training/due_steps.h"

#include "core/error.h"
#include "kernels/sizes.h"

namespace engine {

namespace {

void check_parts(const char* parts_name, int64_t parts, const char* every_name, const Task& task) {
  if (parts == 0) return;
  const int64_t steps = task.steps_per_epoch();
  if (steps < 1)
    fail_usage(parts_name, " is ", parts, ", but this data is made without end and has no epochs: set ", every_name);
  if (parts > steps)
    fail_usage(parts_name, " is ", parts, ", but an epoch has ", steps, " steps: set it to these at most");
}

}  // namespace

DueSteps::DueSteps(const TrainingConfig& config, Task& task) : config_(config), task_(task) {
  check_parts("training.evals_per_epoch", config.evals_per_epoch, "training.eval_every", task);
  check_parts("training.saves_per_epoch", config.saves_per_epoch, "training.save_every", task);
}

bool DueSteps::is_due(int64_t every, int64_t parts, int64_t step) const {
  if (parts == 0) return every > 0 && step % every == 0;
  if (step < 1) return false;
  const EpochSteps epoch = task_.epoch_of(step - 1);
  const int64_t done = step - epoch.first;
  const int64_t part = done * parts / epoch.count;  // the last that may be done
  return part > 0 && ceil_div(part * epoch.count, parts) == done;
}

}  // namespace engine
