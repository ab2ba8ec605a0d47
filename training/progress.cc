#include "training/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace engine {

namespace {

// Writes into a buffer of the caller, because a step that is shown allocates nothing.
struct Text {
  char characters[32];
};

Text duration(double seconds) {
  Text text;
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) {
    std::snprintf(text.characters, sizeof text.characters, "?");
    return text;
  }
  const long whole = std::lround(seconds);
  if (whole >= 3600)
    std::snprintf(text.characters, sizeof text.characters, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60,
                  whole % 60);
  else
    std::snprintf(text.characters, sizeof text.characters, "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

int columns_of(std::FILE* out) {
  winsize size{};
  if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

Progress::Progress(std::FILE* out, bool terminal, int64_t first, int64_t steps, Clock::duration silence)
    : out_(out), terminal_(terminal), first_(first), steps_(steps), silence_(silence), start_(Clock::now()),
      shown_(start_) {}

double Progress::seconds_to_go(const StepReport& report) const {
  const double passed = std::chrono::duration<double>(Clock::now() - start_).count();
  const int64_t done = report.step - first_;
  const double by_steps =
      done > 0 ? passed / static_cast<double>(done) * static_cast<double>(steps_ - report.step) : INFINITY;
  return std::min(by_steps, report.seconds_left);
}

// There is no loss where nothing was scored.
std::string Progress::loss_text(const StepReport& report) {
  char text[32] = "-";
  if (report.scored) std::snprintf(text, sizeof text, "%.4f", report.loss);
  return text;
}

void Progress::show(const StepReport& report) {
  const Clock::time_point now = Clock::now();
  if (!terminal_) {
    is_told_ = now - shown_ >= silence_ && now - start_ < first_minutes;
    if (is_told_) write(report);
    return;
  }
  if (now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  char figures[160];
  const int length = std::snprintf(figures, sizeof figures, " %lld/%lld  loss %s  %.0f tokens/s  %s to go",
                                   static_cast<long long>(report.step), static_cast<long long>(steps_),
                                   loss_text(report).c_str(),
                                   report.tokens_per_second, duration(seconds_to_go(report)).characters);
  const int width = std::clamp(columns_of(out_) - length - 3, 0, 40);
  char bar[48] = {};
  const int done = static_cast<int>(static_cast<double>(width) * static_cast<double>(report.step) /
                                    static_cast<double>(std::max<int64_t>(steps_, 1)));
  std::memset(bar, '-', static_cast<size_t>(width));
  std::memset(bar, '#', static_cast<size_t>(std::min(done, width)));
  std::fprintf(out_, "\r[%s]%s\033[K", bar, figures);
  std::fflush(out_);
  bar_shown_ = true;
}

void Progress::log(const StepReport& report) {
  if (!terminal_ && !is_told_) write(report);
}

void Progress::write(const StepReport& report) {
  shown_ = Clock::now();
  std::fprintf(out_, "step %lld/%lld  loss %s  learning_rate %.3g  grad_norm %.3g  %.0f tokens/s  %s to go\n",
               static_cast<long long>(report.step), static_cast<long long>(steps_), loss_text(report).c_str(),
               report.learning_rate, report.gradient_norm, report.tokens_per_second,
               duration(seconds_to_go(report)).characters);
  std::fflush(out_);
}

void Progress::line(const std::string& text) {
  finish();
  std::fprintf(out_, "%s\n", text.c_str());
  std::fflush(out_);
}

void Progress::finish() {
  if (bar_shown_) std::fputs("\r\033[K", out_);
  bar_shown_ = false;
}

}  // namespace engine
