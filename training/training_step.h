// A TrainingStep is one optimizer step of a model, without log or display. The trainer, benchmarks and profiles use it.
#pragma once

#include "training/optimizer.h"
#include "training/task.h"

namespace engine {

struct StepResult {
  double loss_sum = 0, weight = 0, correct = 0;  // over all scored tokens of all ranks
  float gradient_norm = 0;                       // of all parameters together; 0 where not measured
  int64_t tokens = 0;                            // of the batch, sources included

  double loss() const { return loss_sum / weight; }
  // A step that is not finite changed nothing.
  bool is_finite() const;
};

class TrainingStep {
 public:
  // measures_norm = false leaves the gradient's norm, and with it clipping, out.
  TrainingStep(Machine& machine, Parameters& parameters, const TrainingConfig& config, uint64_t seed,
               bool measures_norm = true);

  // Runs the batch, in micro-batches whose gradients are added up, and starts the update. draw (from 0) numbers the
  // dropout masks, update (from 1) the updates that the moments have seen. With several ranks each runs its share of
  // the sequences, and gradients are summed over the ranks as soon as they are complete. A batch without a label
  // changes nothing, and its weight is 0.
  StepResult run(BatchLoss& loss, const SequenceBatch& batch, int64_t draw, int64_t update, float learning_rate);

  Optimizer& optimizer() { return optimizer_; }

 private:
  Machine& machine_;
  Parameters& parameters_;
  const TrainingConfig& config_;
  uint64_t seed_;
  bool measures_norm_;
  Optimizer optimizer_;
  int64_t most_tokens_;
};

}  // namespace engine
