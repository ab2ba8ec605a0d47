#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/parallel.h"

namespace engine::test::test_parallel {

TEST_CASE("parallel loops run every piece once, at any number of threads, inside one another and side by side") {
  const int before = thread_count();
  for (int threads : {1, 2, 3, 7, 2}) {
    set_threads(threads);
    for (int64_t count : {0, 1, 2, 5, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      std::atomic<int> index_out_of_range = 0;
      parallel_for(count, [&](int64_t i) {
        if (thread_index() < 0 || thread_index() >= threads) ++index_out_of_range;
        parallel_for(3, [&](int64_t) { ++runs[static_cast<size_t>(i)]; });
      });
      CHECK(index_out_of_range == 0);
      for (const auto& run : runs) CHECK(run == 3);
    }
  }
  set_threads(3);
  std::atomic<int64_t> total = 0;
  const auto loops = [&] {
    for (int i = 0; i < 2000; ++i) parallel_for(7, [&](int64_t k) { total += k; });
  };
  std::thread other(loops);
  loops();
  other.join();
  CHECK(total == 2 * 2000 * 21);
  set_threads(before);
}

TEST_CASE("parallel chunks cover a range without overlap") {
  std::vector<std::atomic<int>> runs(101);
  parallel_chunks(101, 10, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++runs[static_cast<size_t>(i)];
  });
  for (const auto& run : runs) CHECK(run == 1);
}

TEST_CASE("parallel loops of bodies that throw run every piece, and the first piece's error is told") {
  for (const int64_t count : {1, 2, 100}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
    const auto body = [&](int64_t i) {
      ++runs[static_cast<size_t>(i)];
      if (i % 7 == 0 || i == 1) throw std::runtime_error("piece " + std::to_string(i));
    };
    CHECK_THROWS_WITH_AS(parallel_for_or_throw(count, body), "piece 0", std::runtime_error);
    for (const auto& run : runs) CHECK(run == 1);
  }
  CHECK_NOTHROW(parallel_for_or_throw(0, [](int64_t) { throw std::runtime_error("none"); }));
}

}  // namespace engine::test::test_parallel
