// Runs loops over pieces of work on all threads. The caller divides the work into pieces, by shape alone, and threads
// take them as they come free. (Processors of one machine can differ in speed by a factor of two or more from moment to
// moment.)
//
// The threads are a pool of our own. A loop does not wait for a worker that is not there when it begins, because its
// processor serves someone else: the other threads do the work. Workers wait actively for the next loop for a short
// while and then sleep.
#pragma once

#include <cstdint>
#include <exception>
#include <vector>

#include "core/control_groups.h"

namespace engine {

// Returns how many processors each of so many equal processes of this machine can use: those in its mask, which all
// share unless the mask is its own, and at most its share of a control group's quota. More threads than that would only
// wait for each other. At least 1.
int processors_of_each(int processes, const ControlGroups& groups = ControlGroups());

// Sets how many threads loops may use, the caller's included. 0 stands for processors_of_each(1).
void set_threads(int threads);
int thread_count();
// Returns the number of this thread, 0 ... thread_count()-1, in the body of a loop, and 0 outside.
int thread_index();

namespace detail {
bool loop_is_running_here();  // on this thread, where a loop inside a loop's body stays
void run_loop(int64_t count, void (*piece)(const void* body, int64_t i), const void* body);
}  // namespace detail

// Calls body(i) for i in 0 ... count-1, in any order, on any thread. The body must not throw.
template <class Body>
void parallel_for(int64_t count, const Body& body) {
  if (count <= 1 || detail::loop_is_running_here()) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  detail::run_loop(
      count, [](const void* b, int64_t i) { (*static_cast<const Body*>(b))(i); }, &body);
}

// Does the same with a body that may throw. Once all is done, it throws the error of the lowest i that failed.
template <class Body>
void parallel_for_or_throw(int64_t count, const Body& body) {
  std::vector<std::exception_ptr> errors(static_cast<size_t>(count));
  parallel_for(count, [&](int64_t i) {
    try {
      body(i);
    } catch (...) {
      errors[static_cast<size_t>(i)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

// Calls body(begin, end) for pieces of `grain` elements, of which the last may be shorter.
template <class Body>
void parallel_chunks(int64_t count, int64_t grain, const Body& body) {
  parallel_for((count + grain - 1) / grain, [&](int64_t i) {
    const int64_t begin = i * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

}  // namespace engine
