// Progress shows on a terminal a bar with loss, tokens a second and the remaining time. Elsewhere it prints a line each
// training.log_every steps.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace engine {

struct StepReport {
  int64_t step = 0;  // steps done
  double loss = 0, learning_rate = 0, gradient_norm = 0, tokens_per_second = 0;
};

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // `first` is the number of steps that were done before.
  Progress(std::FILE* out, bool terminal, int64_t first, int64_t steps);

  // Moves the bar after every step, ten times a second at most. Does nothing without a terminal.
  void show(const StepReport& report);
  // Prints a line for a logged step where there is no terminal.
  void log(const StepReport& report);
  // Prints a line of text above the bar.
  void line(const std::string& text);
  // Removes the bar.
  void finish();

 private:
  double seconds_to_go(int64_t step) const;

  std::FILE* out_;
  bool terminal_, bar_shown_ = false;
  int64_t first_, steps_;
  Clock::time_point start_, shown_{};
};

}  // namespace engine
