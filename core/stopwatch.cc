#include "core/stopwatch.h"

#include <chrono>

namespace engine {

namespace {

class HostStopwatch final : public Stopwatch {
 public:
  void mark() override { marks_.push_back(std::chrono::steady_clock::now()); }

  std::vector<double> seconds() override {
    std::vector<double> result;
    for (size_t i = 1; i < marks_.size(); ++i)
      result.push_back(std::chrono::duration<double>(marks_[i] - marks_[i - 1]).count());
    marks_.clear();
    return result;
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> marks_;
};

}  // namespace

std::unique_ptr<Stopwatch> make_host_stopwatch() { return std::make_unique<HostStopwatch>(); }

}  // namespace engine
