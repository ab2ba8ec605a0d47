#include "training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace engine {

Schedule::Schedule(const TrainingConfig& config, int64_t steps)
    : scheduler_(config.scheduler),
      peak_(static_cast<double>(config.learning_rate)),
      end_(static_cast<double>(config.min_learning_rate)),
      start_(static_cast<double>(config.initial_learning_rate)),
      factor_(static_cast<double>(config.plateau_factor)),
      warmup_(config.warmup_steps),
      steps_(steps),
      patience_(config.plateau_patience) {
  if (scheduler_ != "constant" && end_ > peak_)
    fail_usage("training.min_learning_rate is ", end_, ", above training.learning_rate ", peak_);
  if (scheduler_ == "exponential" && !(end_ > 0))
    fail_usage("training.scheduler exponential falls by one factor each step: set training.min_learning_rate above 0");
}

double Schedule::scheduled(int64_t step) const {
  if (step < warmup_) return start_ + (peak_ - start_) * static_cast<double>(step + 1) / static_cast<double>(warmup_);
  const double after = static_cast<double>(std::max<int64_t>(steps_ - warmup_, 1));
  const double progress = std::min(static_cast<double>(step - warmup_) / after, 1.0);
  if (scheduler_ == "linear") return peak_ + (end_ - peak_) * progress;
  if (scheduler_ == "cosine") return end_ + (peak_ - end_) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
  if (scheduler_ == "exponential") return peak_ * std::pow(end_ / peak_, progress);
  if (scheduler_ == "plateau")
    return std::max(end_, peak_ * std::pow(factor_, static_cast<double>(observed_.reductions)));
  return peak_;
}

bool Schedule::observe(bool is_better) {
  if (scheduler_ != "plateau") return false;
  if (is_better) observed_.evaluations = 0;
  else ++observed_.evaluations;
  if (observed_.evaluations < patience_) return false;
  observed_.evaluations = 0;
  ++observed_.reductions;
  return true;
}

float Schedule::learning_rate_at(int64_t step) const {
  double rate = scheduled(step);
  const int64_t since = step - blend_begin_;
  if (since < blend_) rate = before_ + (rate - before_) * static_cast<double>(since) / static_cast<double>(blend_);
  return static_cast<float>(rate);
}

int64_t training_steps(const TrainingConfig& config, int64_t steps_of_epochs) {
  if (config.max_steps > 0) return config.max_steps;
  if (!(config.epochs > 0)) fail_usage("how long to train is not said: set training.max_steps or training.epochs");
  if (steps_of_epochs < 1)
    fail_usage("training.epochs is ", config.epochs, ", but this data is made without end: set training.max_steps");
  return steps_of_epochs;
}

}  // namespace engine
