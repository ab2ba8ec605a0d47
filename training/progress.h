// Progress: a bar with loss, tokens a second, the time to go, the memory and the best evaluation so far; or a line each
// training.log_every steps, and in the first minutes at least every half a minute, so that a user sees that a slow
// training advances.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

#include "core/progress_style.h"

namespace engine {

struct StepReport {
  int64_t step = 0;    // steps done
  bool scored = true;  // false: none of these steps has a loss
  double loss = 0, learning_rate = 0, gradient_norm = 0;
  double tokens_per_second = 0;    // since the last line of the log
  double mean_speed = 0;           // tokens a second, a running mean
  double seconds_left = INFINITY;  // until the clock ends the training
};

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::seconds longest_silence{30};
  static constexpr std::chrono::minutes first_minutes{10};

  // `first` is how many steps were done before.
  Progress(std::FILE* out, ProgressStyle style, int64_t first, int64_t steps,
           Clock::duration silence = longest_silence);

  // Comes after every step. The bar moves, ten times a second at most. With lines one comes where none came for
  // longest_silence.
  void show(const StepReport& report);
  // Comes after a step that is logged, after show(). Writes a line where lines are asked for and show() wrote none.
  void log(const StepReport& report);
  // Tells the bar of the best evaluation so far, such as "loss 1.234 at step 500".
  void set_best(const std::string& text) { best_ = text; }
  // Writes a line of text of its own, above the bar.
  void line(const std::string& text);
  // Removes the bar.
  void finish();

 private:
  double seconds_to_go(const StepReport& report) const;
  void draw(const StepReport& report);
  void write(const StepReport& report);

  std::FILE* out_;
  ProgressStyle style_;
  bool bar_shown_ = false;
  bool is_told_ = false;  // whether show() wrote a line of the last step
  int64_t first_, steps_;
  Clock::duration silence_;
  Clock::time_point start_, shown_{};  // the last time that anything was shown
  std::string best_;
};

}  // namespace engine
