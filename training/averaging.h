// Averaging: values of the parameters averaged over steps of a training (stochastic weight averaging; Izmailov et al.
// 2018), beside the values that are trained. After n averaged steps each average is their mean: avg += (value - avg) / n.
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
  // Exchanges the parameters' values and their averages, where there are any. To be called twice, around what shall see
  // the averages.
  void swap();
  bool has_average() const { return count_ > 0; }

  // The averages, as part of a training's state, and how many steps each is a mean of.
  std::vector<StateTensor> state() const;
  int64_t count() const { return count_; }
  void set_count(int64_t count) { count_ = count; }

 private:
  Ops& ops_;
  Parameters& parameters_;
  Arena arena_;
  std::vector<Tensor> averages_;  // f32, of each parameter
  int64_t start_, every_, count_ = 0;
};

}  // namespace engine
