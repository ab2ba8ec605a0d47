// Averaging makes other values of the parameters beside those that are trained, by two methods that a step may have
// both.
//
// SWA (stochastic weight averaging; Izmailov et al. 2018) keeps means over steps of the training. After n averaged
// steps avg += (value - avg) / n has made the mean of each. It never changes the values that are trained.
//
// Lookahead (Zhang et al. 2019) keeps slow weights, which begin as the values that the training starts from. After each
// `every` steps slow += alpha (value - slow), and the training goes on from there: value = slow.
//
// training.averaging_order says which is first in a step that has both. lookahead_first averages the values that
// Lookahead has set back, which is SWA around Lookahead around the optimizer. swa_first averages those before that.
//
// training.evaluate_on says which values evaluations and saved models have: SWA's averages once there are any, the
// values that are trained, or the slow weights.
#pragma once

#include <vector>

#include "training/optimizer.h"

namespace engine {

class Averaging {
 public:
  // Each rank averages the shards that are its own. Where they are not the whole, all ranks call update and swap.
  Averaging(Ops& ops, Parameters& parameters, const TrainingConfig& config, const Shards& shards);
  Averaging(Ops& ops, Parameters& parameters, const TrainingConfig& config)
      : Averaging(ops, parameters, config, Shards(parameters)) {}

  // Must be called when the parameters have the values that a new training starts from.
  void begin();
  // Comes after the update of step `step` (counted from 1).
  void update(int64_t step);
  // Returns whether update(step) reads or changes any value.
  bool acts_on(int64_t step) const { return is_averaged(step) || is_looked_ahead(step); }
  // Exchanges the parameters' values and those that evaluations and saved models have, where these are others. A caller
  // swaps before and after the reader that shall see them.
  void swap();

  // Returns averages and slow weights, as part of a training's state. count() is the number of averaged steps.
  std::vector<StateTensor> state() const;
  int64_t count() const { return count_; }
  void set_count(int64_t count) { count_ = count; }

 private:
  bool is_averaged(int64_t step) const;
  bool is_looked_ahead(int64_t step) const;
  // Returns this rank's shard of a parameter's value.
  Tensor value_of(const Parameter& parameter) const { return shards_.own(parameter, parameter.value); }
  void average();
  void look_ahead();

  Ops& ops_;
  Parameters& parameters_;
  const TrainingConfig& config_;
  const Shards shards_;
  Arena arena_;
  std::vector<Tensor> averages_, slow_;  // f32, one for each parameter's shard; empty where the method is off
  int64_t count_ = 0;
};

}  // namespace engine
