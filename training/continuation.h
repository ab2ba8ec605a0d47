// A training may start from another run of its task, whose folder `init` names. It goes on from that run's state, which
// holds the values of its last step, because the moments belong to them. The run's best model may be of an earlier
// step. Parameters without a namesake of the same shape there begin as the task made them, with moments of zero. From a
// run of another task, or with training.load_optimizer = false or training.new_head = true, a training takes only what
// the task itself loads, which is the best model's weights.
#pragma once

#include <string>

#include "training/state.h"

namespace engine {

// Copies what init offers into the optimizer's parameters and moments, and sets steps_before, learning_rate_before and
// fresh of `progress`. Returns a line that says what became of init, which is empty without one. Throws a UsageError
// where training.resume_warmup_steps needs a learning rate that init does not tell.
std::string go_on_from_init(const Config& config, const Options& options, Optimizer& optimizer,
                            TrainingProgress& progress);

}  // namespace engine
