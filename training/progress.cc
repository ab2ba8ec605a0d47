#include "training/progress.h"

#include <algorithm>
#include <cstring>

#include "core/process_memory.h"

namespace engine {

namespace {

// There is no loss where nothing was scored.
ShortText loss_text(const StepReport& report) {
  ShortText text{"-"};
  if (report.scored) std::snprintf(text.characters, sizeof text.characters, "%.4f", report.loss);
  return text;
}

}  // namespace

Progress::Progress(std::FILE* out, ProgressStyle style, int64_t first, int64_t steps, Clock::duration silence)
    : out_(out), style_(style), first_(first), steps_(steps), silence_(silence), start_(Clock::now()),
      shown_(start_) {}

double Progress::seconds_to_go(const StepReport& report) const {
  const double passed = std::chrono::duration<double>(Clock::now() - start_).count();
  const int64_t done = report.step - first_;
  const double by_steps =
      done > 0 ? passed / static_cast<double>(done) * static_cast<double>(steps_ - report.step) : INFINITY;
  return std::min(by_steps, report.seconds_left);
}

void Progress::show(const StepReport& report) {
  const Clock::time_point now = Clock::now();
  if (style_ == ProgressStyle::lines) {
    is_told_ = now - shown_ >= silence_ && now - start_ < first_minutes;
    if (is_told_) write(report);
  } else if (style_ == ProgressStyle::bar && now - shown_ >= std::chrono::milliseconds(100)) {
    draw(report);
  }
}

// The bar gets what the figures leave of the line. What is too long for a narrow terminal is left out from its end, so
// that the line never wraps.
void Progress::draw(const StepReport& report) {
  shown_ = Clock::now();
  const int columns = columns_of(out_);
  char figures[256];
  int length = std::snprintf(figures, sizeof figures, " %lld/%lld  loss %s  %.0f tokens/s  %s to go",
                             static_cast<long long>(report.step), static_cast<long long>(steps_),
                             loss_text(report).characters, report.mean_speed,
                             duration_text(seconds_to_go(report)).characters);
  const auto add = [&](const char* text) {
    if (length + static_cast<int>(std::strlen(text)) + 8 > std::min<int>(columns, sizeof figures)) return;
    length += std::snprintf(figures + length, sizeof figures - static_cast<size_t>(length), "%s", text);
  };
  char memory[48];
  std::snprintf(memory, sizeof memory, "  %s", memory_text(static_cast<double>(peak_memory())).characters);
  add(memory);
  if (!best_.empty()) {
    char best[128];
    std::snprintf(best, sizeof best, "  best %s", best_.c_str());
    add(best);
  }
  const int width = std::clamp(columns - length - 3, 0, 40);
  char bar[48] = {};
  const int done = static_cast<int>(static_cast<double>(width) * static_cast<double>(report.step) /
                                    static_cast<double>(std::max<int64_t>(steps_, 1)));
  std::memset(bar, '-', static_cast<size_t>(width));
  std::memset(bar, '#', static_cast<size_t>(std::min(done, width)));
  std::fprintf(out_, "\r[%s]%.*s\033[K", bar, std::max(columns - width - 3, 0), figures);
  std::fflush(out_);
  bar_shown_ = true;
}

void Progress::log(const StepReport& report) {
  if (style_ == ProgressStyle::lines && !is_told_) write(report);
}

void Progress::write(const StepReport& report) {
  shown_ = Clock::now();
  std::fprintf(out_, "step %lld/%lld  loss %s  learning_rate %.3g  grad_norm %.3g  %.0f tokens/s  %s to go\n",
               static_cast<long long>(report.step), static_cast<long long>(steps_), loss_text(report).characters,
               report.learning_rate, report.gradient_norm, report.mean_speed,
               duration_text(seconds_to_go(report)).characters);
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
