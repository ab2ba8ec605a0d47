#include "tests/cudasim/monitor.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace cudasim {

namespace {

struct Monitor {
  std::mutex mutex;
  std::condition_variable changed;
  std::thread::id owner, executor;  // none: a default id
  int depth = 0, executor_depth = 0;

  void enter(std::unique_lock<std::mutex>& lock, int new_depth, const std::function<bool()>& is_so = nullptr) {
    changed.wait(lock, [&] { return depth == 0 && (!is_so || is_so()); });
    owner = std::this_thread::get_id();
    depth = new_depth;
  }
  int leave() {
    const int before = depth;
    depth = 0;
    owner = {};
    changed.notify_all();
    return before;
  }
};
Monitor& monitor() {
  static Monitor* const only = new Monitor;  // threads may still wait when the program ends
  return *only;
}

}  // namespace

Inside::Inside() {
  Monitor& m = monitor();
  std::unique_lock lock(m.mutex);
  if (m.owner == std::this_thread::get_id()) ++m.depth;
  else m.enter(lock, 1);
}

Inside::~Inside() {
  Monitor& m = monitor();
  const std::lock_guard lock(m.mutex);
  if (m.depth > 1) --m.depth;
  else m.leave();
}

void outside(const std::function<void()>& work) {
  Monitor& m = monitor();
  std::unique_lock lock(m.mutex);
  const int depth = m.leave();
  lock.unlock();
  work();
  lock.lock();
  m.enter(lock, depth);
}

void wait_until(const std::function<bool()>& is_so) {
  Monitor& m = monitor();
  std::unique_lock lock(m.mutex);
  m.enter(lock, m.leave(), is_so);
}

Executor::Executor() {
  Monitor& m = monitor();
  const std::thread::id self = std::this_thread::get_id();
  if (m.executor != self) wait_until([&m] { return m.executor_depth == 0; });
  m.executor = self;
  ++m.executor_depth;
}

Executor::~Executor() {
  Monitor& m = monitor();
  if (--m.executor_depth == 0) m.executor = {};
}

bool has_executor() { return monitor().executor_depth > 0; }

}  // namespace cudasim
