#include "core/cuda/recording.h"

#include "core/cuda/operation.h"
#include "core/error.h"

namespace engine::cuda {

thread_local Recording* Recording::current = nullptr;

void Recording::add_call(std::function<void()> start) {
  calls_.push_back({running_operation_name(), std::move(start)});
}

void Recording::start() {
  const std::vector<Call> calls = std::move(calls_);
  calls_.clear();
  for (const Call& call : calls) {
    try {
      call.start();
    } catch (const Error& error) {
      fail(call.operation, ": ", error.what());
    }
  }
}

}  // namespace engine::cuda
