// Progress: on a terminal a bar with loss, tokens a second and the time to go. Elsewhere a line each training.log_every
// steps, and in the first minutes at least every half a minute, so that a user sees that a slow training advances.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace engine {

struct StepReport {
  int64_t step = 0;    // steps done
  bool scored = true;  // false: none of these steps has a loss
  double loss = 0, learning_rate = 0, gradient_norm = 0, tokens_per_second = 0;
  double seconds_left = INFINITY;  // until the clock ends the training
};

class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr std::chrono::seconds longest_silence{30};
  static constexpr std::chrono::minutes first_minutes{10};

  // `first` is how many steps were done before.
  Progress(std::FILE* out, bool terminal, int64_t first, int64_t steps,
           Clock::duration silence = longest_silence);

  // Comes after every step. The bar moves, ten times a second at most. Without a terminal a line comes where none came
  // for longest_silence.
  void show(const StepReport& report);
  // Comes after a step that is logged, after show(). Writes a line where there is no terminal and show() wrote none.
  void log(const StepReport& report);
  // Writes a line of text of its own, above the bar.
  void line(const std::string& text);
  // Removes the bar.
  void finish();

 private:
  double seconds_to_go(const StepReport& report) const;
  void write(const StepReport& report);
  static std::string loss_text(const StepReport& report);

  std::FILE* out_;
  bool terminal_, bar_shown_ = false;
  bool is_told_ = false;  // whether show() wrote a line of the last step
  int64_t first_, steps_;
  Clock::duration silence_;
  Clock::time_point start_, shown_{};  // the last time that anything was shown
};

}  // namespace engine
