#include "core/activity.h"

#include <algorithm>

namespace engine {

namespace {

std::string asked_style = "auto";
thread_local int running = 0;

}  // namespace

void set_activity_style(const std::string& asked) { asked_style = asked; }

Activity::Activity(const char* what, const char* things, int64_t total)
    : Activity(what, things, total, stderr, progress_style(asked_style, stderr), Delays()) {}

Activity::Activity(const char* what, const char* things, int64_t total, std::FILE* out, ProgressStyle style,
                   Delays delays)
    : what_(what), things_(things), total_(total), out_(out), style_(running++ ? ProgressStyle::none : style),
      delays_(delays), next_(start_ + (style == ProgressStyle::bar ? delays.bar : delays.line)) {}

Activity::~Activity() {
  --running;
  if (!bar_shown_) return;
  std::fputs("\r\033[K", out_);
  std::fflush(out_);
}

void Activity::add(int64_t count) {
  done_ += count;
  const Clock::time_point now = Clock::now();
  if (style_ == ProgressStyle::none || now < next_ || done_ <= 0) return;
  const bool is_bar = style_ == ProgressStyle::bar;
  next_ = now + (is_bar ? std::chrono::milliseconds(100) : delays_.line);
  const double passed = std::chrono::duration<double>(now - start_).count();
  const double left = passed / static_cast<double>(done_) * static_cast<double>(total_ - done_);
  char text[160];
  std::snprintf(text, sizeof text, "%s: %lld of %lld %s, %s to go", what_, static_cast<long long>(done_),
                static_cast<long long>(total_), things_, duration_text(left).characters);
  if (is_bar) std::fprintf(out_, "\r%.*s\033[K", std::max(columns_of(out_) - 1, 0), text);
  else std::fprintf(out_, "%s\n", text);
  std::fflush(out_);
  bar_shown_ = is_bar;
}

}  // namespace engine
