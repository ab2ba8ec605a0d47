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
      half_cycle_(static_cast<double>(config.cycle_steps) / 2),
      cycle_decay_(static_cast<double>(config.cycle_decay)),
      decays_by_step_(config.cycle_decay_by == "step"),
      limit_(config.max_minutes > 0 ? config.max_minutes * 60 : INFINITY),
      warmup_(config.warmup_steps),
      steps_(steps),
      patience_(config.plateau_patience) {
  if (scheduler_ != "constant" && end_ > peak_)
    fail_usage("training.min_learning_rate is ", end_, ", above training.learning_rate ", peak_);
  if (scheduler_ == "exponential" && !(end_ > 0))
    fail_usage("training.scheduler exponential falls by one factor each step: set training.min_learning_rate above 0");
  if (scheduler_ == "cyclic" && config.cycle_steps == 0)
    fail_usage("training.scheduler cyclic repeats itself after training.cycle_steps steps: set it above 0");
}

double Schedule::cyclic(double step) const {
  const double cycle = std::floor(1 + step / (2 * half_cycle_));
  const double height = 1 - std::abs(step / half_cycle_ - 2 * cycle + 1);
  const double decay = std::pow(cycle_decay_, decays_by_step_ ? step : cycle);
  return end_ + (peak_ - end_) * std::max(height, 0.0) * decay;
}

double Schedule::progress_at(int64_t step) const {
  const double after = static_cast<double>(std::max<int64_t>(steps_ - warmup_, 1));
  const double by_steps = std::min(static_cast<double>(step - warmup_) / after, 1.0);
  if (is_out_of_time()) return 1;
  return std::max(by_steps, (seconds_ - observed_.warmup_seconds) / (limit_ - observed_.warmup_seconds));
}

double Schedule::scheduled(int64_t step) const {
  if (scheduler_ == "cyclic") return cyclic(static_cast<double>(step));
  if (step < warmup_) return start_ + (peak_ - start_) * static_cast<double>(step + 1) / static_cast<double>(warmup_);
  const double progress = progress_at(step);
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

void Schedule::observe_time(int64_t step, double seconds) {
  seconds_ = seconds;
  if (step <= warmup_) observed_.warmup_seconds = seconds;
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
