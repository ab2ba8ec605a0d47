#include "core/parallel.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

namespace engine {

namespace {

thread_local int this_thread = 0;
thread_local bool in_loop = false;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Counts the processors that this thread may run on, by its cpuset or a mask such as taskset's.
int processors_in_mask() {
  for (size_t most = CPU_SETSIZE; most <= size_t{1} << 20; most *= 2) {  // the kernel refuses too small a set
    cpu_set_t* const set = CPU_ALLOC(most);
    if (!set) break;
    const size_t bytes = CPU_ALLOC_SIZE(most);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

constexpr int spins = 4000;  // 50 to 150 microseconds, longer than the time between two operations of a step

// Runs one loop at a time. `state_` holds all that must change together: the loop's number (upper 16 bits), whether it
// can still be joined, and how many workers have joined. Only those that have joined read the loop's description, and
// it is written only when none has.
class Pool {
 public:
  void set_threads(int threads) {
    if (threads <= 0) threads = processors_of_each(1);
    threads_.store(threads);
  }
  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void run(int64_t count, void (*piece)(const void*, int64_t), const void* body) {
    in_loop = true;
    if (threads() == 1 || owned_.test_and_set(std::memory_order_acquire)) {
      for (int64_t i = 0; i < count; ++i) piece(body, i);  // no workers, or another thread's loop has them
    } else {
      start_workers();
      count_ = count, piece_ = piece, body_ = body;
      next_.store(0, std::memory_order_relaxed);
      const uint32_t number = (state_.load(std::memory_order_relaxed) >> 16) + 1;
      state_.store(number << 16 | open, std::memory_order_release);
      state_.notify_all();
      take_pieces();
      state_.fetch_and(~open, std::memory_order_acq_rel);
      // A caller that waits long sleeps, and leaves its processor to a worker whose own one went to other programs.
      uint32_t state;
      for (int i = 0; (state = state_.load(std::memory_order_acquire)) & joined; ++i)
        if (i < spins) pause_briefly();
        else state_.wait(state);
      owned_.clear(std::memory_order_release);
    }
    in_loop = false;
  }

 private:
  static constexpr uint32_t open = 1u << 15, joined = open - 1;

  void start_workers() {
    try {
      for (; started_ < threads(); ++started_) std::thread(&Pool::work, this, started_).detach();
    } catch (const std::system_error&) {
      threads_.store(started_);  // the system grants no more (ulimit -u or -v, pids.max)
    }
  }

  void take_pieces() {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) piece_(body_, i);
  }

  void work(int index) {
    this_thread = index;
    in_loop = true;
    uint32_t last_number = 0;
    for (int idle = 0;;) {
      uint32_t state = state_.load(std::memory_order_acquire);
      if ((state & open) && state >> 16 != last_number && index < threads()) {
        if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
        last_number = state >> 16;
        take_pieces();
        // The last one wakes the caller. That costs nothing where nobody sleeps.
        if ((state_.fetch_sub(1, std::memory_order_acq_rel) & joined) == 1) state_.notify_all();
        idle = 0;
      } else if (++idle < spins) {
        pause_briefly();
      } else {
        state_.wait(state);
        idle = 0;
      }
    }
  }

  std::atomic<int> threads_{processors_of_each(1)};
  int started_ = 1;  // the caller is the first
  std::atomic_flag owned_;
  std::atomic<uint32_t> state_{0};
  std::atomic<int64_t> next_{0};
  int64_t count_ = 0;
  void (*piece_)(const void*, int64_t) = nullptr;
  const void* body_ = nullptr;
};

Pool& pool() {
  static Pool& all = *new Pool;  // lives as long as its threads, until the program ends
  return all;
}

}  // namespace

int processors_of_each(int processes, const ControlGroups& groups) {
  const int in_mask = processors_in_mask();
  // A mask that leaves some processors out was set for this process alone, by mpirun for instance.
  const bool is_own_mask = in_mask < sysconf(_SC_NPROCESSORS_ONLN);
  const double allowed = std::min<double>(is_own_mask ? in_mask : in_mask / processes, groups.processors() / processes);
  return std::max(1, static_cast<int>(allowed));
}

void set_threads(int threads) { pool().set_threads(threads); }
int thread_count() { return pool().threads(); }
int thread_index() { return this_thread; }

namespace detail {
bool loop_is_running_here() { return in_loop; }
void run_loop(int64_t count, void (*piece)(const void* body, int64_t i), const void* body) {
  pool().run(count, piece, body);
}
}  // namespace detail

}  // namespace engine
