// Loops over pieces of work on all threads. The pieces are cut by the caller, by shape alone, and handed out as threads
// come free (processors of one machine can differ in speed by a factor of two or more from moment to moment).
#pragma once

#include <omp.h>

#include <cstdint>

namespace engine {

// Threads that loops may use; 0: one a processor.
inline void set_threads(int threads) { omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs()); }
inline int thread_count() { return omp_get_max_threads(); }
inline int thread_index() { return omp_get_thread_num(); }

// body(i) for i in 0 ... count-1, in any order, on any thread. The body must not throw.
template <class Body>
void parallel_for(int64_t count, const Body& body) {
  if (count <= 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) body(i);
}

// body(begin, end) over pieces of `grain` elements (the last may be shorter).
template <class Body>
void parallel_chunks(int64_t count, int64_t grain, const Body& body) {
  parallel_for((count + grain - 1) / grain, [&](int64_t i) {
    const int64_t begin = i * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

}  // namespace engine
