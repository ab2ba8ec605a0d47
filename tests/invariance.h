// What every operation owes: the same bits at any number of threads, and a backward pass that is the derivative of the
// forward pass.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include "core/parallel.h"
#include "tests/operation.h"

namespace engine::test {

// run() gives all results of an operation on the same inputs; they have the same bits at 1, 2 and 3 threads.
inline void check_same_at_any_thread_count(const std::function<std::vector<double>()>& run) {
  const int before = thread_count();
  set_threads(1);
  const std::vector<double> expected = run();
  for (int threads : {2, 3}) {
    CAPTURE(threads);
    set_threads(threads);
    const std::vector<double> actual = run();
    REQUIRE(actual.size() == expected.size());
    CHECK((actual.empty() || std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(double)) == 0));
  }
  set_threads(before);
}

// A copy that begins so many elements behind an address that vectors are aligned to.
inline Tensor copy_behind(Bench& bench, const Tensor& tensor, int64_t elements) {
  Tensor copy = bench.arena.make(tensor.dtype, {tensor.count() + elements});
  copy.data = static_cast<char*>(copy.data) + static_cast<size_t>(elements) * size_of(tensor.dtype);
  copy.shape = tensor.shape;
  bench.fill(copy, bench.values(tensor));
  return copy;
}

inline void append(std::vector<double>& all, const std::vector<double>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// The derivative of value() by each element of `input`, by central differences in double: good to about 1e-8.
inline std::vector<double> finite_differences(std::vector<double>& input, const std::function<double()>& value) {
  std::vector<double> gradient;
  for (double& element : input) {
    const double before = element, step = 1e-5 * std::max(1.0, std::abs(before));
    element = before + step;
    const double above = value();
    element = before - step;
    const double below = value();
    element = before;
    gradient.push_back((above - below) / (2 * step));
  }
  return gradient;
}
inline constexpr double finite_difference_tolerance = 1e-7;

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}

}  // namespace engine::test
