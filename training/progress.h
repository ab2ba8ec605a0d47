// Progress: on a terminal a bar with loss, tokens a second and the time to go; elsewhere a line each training.log_every
// steps.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace engine {

struct StepReport {
  int64_t step = 0;    // steps done
  bool scored = true;  // false: none of these steps has a loss
  double loss = 0, learning_rate = 0, gradient_norm = 0, tokens_per_second = 0;
};

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // `first`: the steps that were done before.
  Progress(std::FILE* out, bool terminal, int64_t first, int64_t steps);

  // After every step: the bar moves, ten times a second at most. Nothing where there is no terminal.
  void show(const StepReport& report);
  // A step that is logged: a line where there is no terminal.
  void log(const StepReport& report);
  // A line of text of its own, above the bar.
  void line(const std::string& text);
  // Takes the bar away.
  void finish();

 private:
  double seconds_to_go(int64_t step) const;
  static std::string loss_text(const StepReport& report);

  std::FILE* out_;
  bool terminal_, bar_shown_ = false;
  int64_t first_, steps_;
  Clock::time_point start_, shown_{};
};

}  // namespace engine
