// Tells a user that data is still being read: a line after some seconds, and from then on one each half a minute.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

namespace engine {

class ReadingReport {
 public:
  using Clock = std::chrono::steady_clock;

  ReadingReport(std::ostream& out, std::string what, Clock::duration first = std::chrono::seconds(5),
                Clock::duration then = std::chrono::seconds(30))
      : out_(out), what_(std::move(what)), next_(Clock::now() + first), then_(then) {}

  // Counts tokens that were read, and writes a line where it is time for one.
  void add(size_t tokens) {
    tokens_ += tokens;
    const Clock::time_point now = Clock::now();
    if (now < next_) return;
    next_ = now + then_;
    out_ << "reading " << what_ << ": " << tokens_ << " tokens so far" << std::endl;
  }

 private:
  std::ostream& out_;
  std::string what_;
  Clock::time_point next_;
  Clock::duration then_;
  uint64_t tokens_ = 0;
};

}  // namespace engine
