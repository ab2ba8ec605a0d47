// A training that starts from another run of its task: `init` names the run's folder. It goes on from that run's state:
// the values of its last step, since the moments are theirs, though its best model may be of an earlier one. What has
// no namesake of its shape there begins as the task made it, with moments of zero. Of a run of another task, and with
// training.load_optimizer = false or training.new_head = true, nothing is taken but what the task itself loads: the
// best model's weights.
#pragma once

#include <string>

#include "training/state.h"

namespace engine {

// Takes what there is to take into the optimizer's parameters and moments, and sets steps_before, learning_rate_before
// and fresh of `progress`. Returns a line that says what became of init; empty where there is none. A UsageError where
// training.resume_warmup_steps asks for a learning rate that init does not tell.
std::string go_on_from_init(const Config& config, const Options& options, Optimizer& optimizer,
                            TrainingProgress& progress);

}  // namespace engine
