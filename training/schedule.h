// A Schedule gives the learning rate of each step. With W steps of warm-up, T steps in all, peak p, end m
// (min_learning_rate) and start i (initial_learning_rate), step s (from 0) has
//   s < W:        i + (p - i) (s + 1) / W
//   else, with progress x = (s - W) / (T - W), 0 at the first step after warm-up and 1 behind the last step:
//   linear        p + (m - p) x
//   cosine        m + (p - m) (1 + cos(pi x)) / 2
//   exponential   p (m / p)^x
//   constant      p
//   plateau       p f^k, at least m, after k reductions by the factor f (plateau_factor), one each time when the
//                 watched metric has not become better in plateau_patience evaluations in a row
// A training that goes on from the rate r, with which another one ended or it itself ended when it was shorter, has r +
// (rate - r) k / B in the step k (from 0) of its first B (resume_warmup_steps) after that.
#pragma once

#include <cstdint>
#include <string>

#include "training/config.h"

namespace engine {

class Schedule {
 public:
  // Throws a UsageError where the numbers make no schedule.
  Schedule(const TrainingConfig& config, int64_t steps);

  // `before` is the last rate of the training before `step`. blend is resume_warmup_steps.
  void go_on_from(double before, int64_t step, int64_t blend) {
    before_ = before;
    blend_begin_ = step;
    blend_ = blend;
  }
  float learning_rate_at(int64_t step) const;
  // Takes the result of an evaluation. Returns whether the rate is reduced from now on, which only "plateau" does.
  bool observe(bool is_better);
  // Holds the reductions and the evaluations in a row without a better one, from which a resumed training goes on.
  struct Observed {
    int64_t reductions = 0, evaluations = 0;
  };
  const Observed& observed() const { return observed_; }
  void set_observed(const Observed& observed) { observed_ = observed; }
  int64_t steps() const { return steps_; }

 private:
  double scheduled(int64_t step) const;

  std::string scheduler_;
  double peak_, end_, start_, before_ = 0;
  double factor_;
  int64_t warmup_, steps_, patience_, blend_begin_ = 0, blend_ = 0;
  Observed observed_;
};

// Returns the optimizer steps of a run, which are training.max_steps, else the steps of training.epochs epochs
// (Task::steps, 0 for data without end).
int64_t training_steps(const TrainingConfig& config, int64_t steps_of_epochs);

}  // namespace engine
