// A TrainingStep is one optimizer step of a model, without log or display. The trainer, benchmarks and profiles use it.
#pragma once

#include <array>

#include "training/lookup_sums.h"
#include "training/optimizer.h"
#include "training/shard_sums.h"
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
  // measures_norm = false leaves the gradient's norm, and with it clipping, out. Throws a UsageError where the ranks
  // cannot share training.reduction_shards.
  TrainingStep(Machine& machine, Parameters& parameters, const TrainingConfig& config, uint64_t seed,
               bool measures_norm = true);

  // Runs the batch, in micro-batches whose gradients are added up, and starts the update. draw (from 0) numbers the
  // dropout masks, update (from 1) the updates that the moments have seen. With several ranks each runs its share of
  // the sequences, and gradients are summed over the ranks as soon as they are complete. With
  // training.reduction_shards its share is cut into virtual shards, whose gradients are summed first. A batch without a
  // label changes nothing, and its weight is 0.
  StepResult run(BatchLoss& loss, const SequenceBatch& batch, int64_t draw, int64_t update, float learning_rate);

  // Takes the memory for the activations of the batch's longest micro-batch, as a step does, but computes nothing. It
  // comes before the first step.
  void reserve(BatchLoss& loss, const SequenceBatch& batch);

  // These two are the halves of run. A device works on a started step, and on the next, before the first is finished.
  // At most two steps are started and not finished. Finishing waits for the oldest. Where that is not finite, the other
  // is dropped, since it changes nothing either.
  void start(BatchLoss& loss, const SequenceBatch& batch, int64_t draw, int64_t update, float learning_rate);
  StepResult finish();
  int64_t started() const { return started_; }
  // Returns whether a device goes on while the host does something else, so that finishing late is of use.
  bool is_asynchronous() const { return machine_.ops.memory().is_asynchronous(); }

  Optimizer& optimizer() { return optimizer_; }
  const ShardSums& shard_sums() const { return sums_; }
  const LookupSums& lookup_sums() const { return lookups_; }

 private:
  // A Started step has been started and not finished.
  struct Started {
    StepResult result;
    std::unique_ptr<Readback> numbers;  // sums of the loss and the norm's square
  };
  std::pair<int64_t, int64_t> sequences_of_shard(const SequenceBatch& batch, int64_t shard) const;  // first and end
  void run_shard(BatchLoss& loss, const SequenceBatch& batch, int64_t shard, const Pass& pass, float gradient_scale,
                 const Tensor& totals);
  void read(Started& started, StepResult& result);

  Machine& machine_;
  Parameters& parameters_;
  const TrainingConfig& config_;
  uint64_t seed_;
  bool measures_norm_;
  Optimizer optimizer_;
  ShardSums sums_;
  LookupSums lookups_;
  int64_t most_tokens_;
  std::array<Started, 2> steps_;
  size_t oldest_ = 0;
  int64_t started_ = 0;
};

}  // namespace engine
