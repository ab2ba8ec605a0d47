// An Activity shows how far work has come that is no training, such as an evaluation. On a terminal it is a line of the
// standard error that moves, from the second second on. Elsewhere a line comes after half a minute, and one each half
// minute from then on.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "core/progress_style.h"

namespace engine {

// Sets how activities of this process show themselves: "auto", "bar", "lines" or "none".
void set_activity_style(const std::string& asked);

class Activity {
 public:
  using Clock = std::chrono::steady_clock;
  struct Delays {
    Clock::duration bar = std::chrono::seconds(1), line = std::chrono::seconds(30);
  };

  // `what` is done to `total` things, such as "evaluating" 500 "sequences". One inside another shows nothing.
  Activity(const char* what, const char* things, int64_t total);
  Activity(const char* what, const char* things, int64_t total, std::FILE* out, ProgressStyle style, Delays delays);
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

  void add(int64_t count);

 private:
  const char *what_, *things_;
  int64_t total_, done_ = 0;
  std::FILE* out_;
  ProgressStyle style_;
  Delays delays_;
  Clock::time_point start_ = Clock::now(), next_;
  bool bar_shown_ = false;
};

}  // namespace engine
