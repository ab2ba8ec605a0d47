#include "core/cuda/recording.h"

#include <algorithm>

#include "core/cuda/operation.h"
#include "core/error.h"

namespace engine::cuda {

thread_local Recording* Recording::current = nullptr;

void Recording::add_call(std::function<void()> start) {
  calls_.push_back({running_operation_name(), std::move(start)});
}

void Recording::add_break(std::function<void()> work) { breaks_.push_back({calls_.size(), std::move(work)}); }

std::pair<size_t, size_t> Recording::calls_of(size_t part) const {
  return {part == 0 ? 0 : breaks_[part - 1].calls, part == breaks_.size() ? calls_.size() : breaks_[part].calls};
}

bool Recording::is_empty(size_t part) const {
  const auto [begin, end] = calls_of(part);
  return begin == end;
}

void Recording::forget_calls() {
  calls_.clear();
  for (Break& each : breaks_) each.work = nullptr;
}

bool Recording::is_like(const Recording& other) const {
  const auto is_at_same_place = [](const Break& a, const Break& b) { return a.calls == b.calls; };
  return noted_ == other.noted_ && std::equal(breaks_.begin(), breaks_.end(), other.breaks_.begin(),
                                              other.breaks_.end(), is_at_same_place);
}

void Recording::start(size_t part) {
  const auto [begin, end] = calls_of(part);
  for (size_t i = begin; i < end; ++i) {
    const Call& call = calls_[i];
    try {
      call.start();
    } catch (const Error& error) {
      fail(call.operation, ": ", error.what());
    }
  }
}

}  // namespace engine::cuda
