// Averaging keeps means of the parameters' values over steps of a training (stochastic weight averaging; Izmailov et
// al. 2018), beside the values that are trained. After n averaged steps avg += (value - avg) / n has made the mean of
// each.
#pragma once

#include <vector>

#include "training/optimizer.h"

namespace engine {

class Averaging {
 public:
  // Averages from step `start` on (counted from 1), every `every` steps.
  Averaging(Ops& ops, Parameters& parameters, int64_t start, int64_t every);

  // Comes after the update of step `step`.
  void update(int64_t step);
  // Exchanges the parameters' values and their averages, where there are any. A caller swaps before and after the
  // reader that shall see the averages.
  void swap();
  bool has_average() const { return count_ > 0; }

  // Returns the averages, as part of a training's state. count() is the number of averaged steps.
  std::vector<StateTensor> state() const;
  int64_t count() const { return count_; }
  void set_count(int64_t count) { count_ = count; }

 private:
  Ops& ops_;
  Parameters& parameters_;
  Arena arena_;
  std::vector<Tensor> averages_;  // f32, one for each parameter
  int64_t start_, every_, count_ = 0;
};

}  // namespace engine
