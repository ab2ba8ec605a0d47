#include "kernels/observe/time_ops.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/observe/wrapped_ops.h"

namespace engine {

namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class Timer final : public WrappedOps<Timer, TimeOps> {
 public:
  Timer(std::unique_ptr<Ops> inner, std::unique_ptr<Stopwatch> stopwatch)
      : inner_(std::move(inner)), stopwatch_(std::move(stopwatch)) {}
  Memory& memory() override { return inner_->memory(); }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return inner_->packed_bytes(k, n, compute); }
  bool reads_unpacked() const override { return inner_->reads_unpacked(); }

  template <class Args>
  void run(const char* name, const Args& args, void (Ops::*method)(const Args&)) {
    if (runs_ == 1) list(name, args);
    const bool is_timed = runs_ > 1;
    if (is_timed) {
      require(next_ < calls_.size() && calls_[next_].operation.name == name, "timing: call ", next_, " is ", name,
              ", which it was not in the run before");
      ++next_;
      stopwatch_->mark();
    }
    (inner_.get()->*method)(args);
    if (is_timed) stopwatch_->mark();
  }

  void begin_run() override {
    end_run();
    ++runs_;
  }

  std::vector<OperationTime> times() override {
    end_run();
    require(runs_ > 1, "timing: no run was timed");
    runs_ = 1;  // calls that follow belong to no run
    std::vector<OperationTime> result;
    std::vector<std::vector<double>> seconds;
    for (const Call& call : calls_) {
      const auto known = std::find_if(result.begin(), result.end(), [&](const OperationTime& time) {
        return time.operation.is_like(call.operation);
      });
      const auto at = static_cast<size_t>(known - result.begin());
      if (known == result.end()) {
        result.push_back({call.operation});
        result.back().operation.calls = 0;
        seconds.emplace_back();
      }
      ++result[at].operation.calls;
      seconds[at].insert(seconds[at].end(), call.seconds.begin(), call.seconds.end());
    }
    for (size_t i = 0; i < result.size(); ++i) result[i].seconds = median(std::move(seconds[i]));
    return result;
  }

 private:
  struct Call {
    OperationCount operation;
    std::vector<double> seconds;  // of each timed run
  };

  template <class Args>
  void list(const char* name, const Args& args) {
    CopiedArgs copied(args);
    const HostIndices indices(inner_->memory(), copied);
    calls_.push_back({described(name, copied), {}});
  }

  void end_run() {
    if (runs_ < 2) return;
    require(next_ == calls_.size(), "timing: a run of ", next_, " operations follows one of ", calls_.size());
    const std::vector<double> seconds = stopwatch_->seconds();
    for (size_t i = 0; i < calls_.size(); ++i) calls_[i].seconds.push_back(seconds[2 * i]);
    next_ = 0;
  }

  std::unique_ptr<Ops> inner_;
  std::unique_ptr<Stopwatch> stopwatch_;
  std::vector<Call> calls_;
  size_t next_ = 0;
  int runs_ = 0;
};

}  // namespace

std::unique_ptr<TimeOps> make_time_ops(std::unique_ptr<Ops> inner, std::unique_ptr<Stopwatch> stopwatch) {
  return std::make_unique<Timer>(std::move(inner), std::move(stopwatch));
}

}  // namespace engine
