// Tells before the first step what a training's memory is for.
#pragma once

#include <string>
#include <vector>

#include "training/averaging.h"
#include "training/training_step.h"

namespace engine {

struct MemoryUse {
  std::string name;
  size_t bytes = 0;
};

// Lists what a training holds on this rank's device. Activations are the most that the machine's arena has held so far.
std::vector<MemoryUse> memory_uses(Machine& machine, Parameters& parameters, TrainingStep& step,
                                   const Averaging& averaging);

// Returns a line like "memory: weights 12 MiB, ..., together 90 of 24000 MiB" with the activations that a step with
// this batch needs, which is not run for it (TrainingStep::reserve). An Error says what to lower where the process may
// not use so much.
std::string plan_memory(Machine& machine, Parameters& parameters, TrainingStep& step, const Averaging& averaging,
                        BatchLoss& loss, const SequenceBatch& batch);

}  // namespace engine
