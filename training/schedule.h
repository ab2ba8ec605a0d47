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
//   cyclic        m + (p - m) max(0, 1 - |s / h - 2 c + 1|) d^(c or s), without warm-up, with half a cycle h =
//                 cycle_steps / 2, the cycle c = floor(1 + s / (2 h)), d = cycle_decay and its power by cycle_decay_by
// With max_minutes a training ends by the clock, and x is the time's progress where that is more: 0 until warm-up is
// over, 1 when the minutes are over.
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
  // Tells the training's time before step `step` (from 0) begins, in seconds.
  void observe_time(int64_t step, double seconds);
  bool is_out_of_time() const { return seconds_left() <= 0; }
  double seconds_left() const { return limit_ - seconds_; }  // infinite without max_minutes

  // Holds the reductions, the evaluations in a row without a better one and the time when warm-up was over, from which
  // a resumed training goes on.
  struct Observed {
    int64_t reductions = 0, evaluations = 0;
    double warmup_seconds = 0;
  };
  const Observed& observed() const { return observed_; }
  void set_observed(const Observed& observed) { observed_ = observed; }
  int64_t steps() const { return steps_; }

 private:
  double scheduled(int64_t step) const;
  double cyclic(double step) const;
  // Returns how far a training is behind its warm-up, by its steps or its time, 0 ... 1.
  double progress_at(int64_t step) const;

  std::string scheduler_;
  double peak_, end_, start_, before_ = 0;
  double factor_, half_cycle_, cycle_decay_;
  bool decays_by_step_;
  double limit_, seconds_ = 0;  // of the training's time
  int64_t warmup_, steps_, patience_, blend_begin_ = 0, blend_ = 0;
  Observed observed_;
};

// Returns the optimizer steps of a run, which are training.max_steps, else the steps of training.epochs epochs
// (Task::steps, 0 for data without end).
int64_t training_steps(const TrainingConfig& config, int64_t steps_of_epochs);

}  // namespace engine
