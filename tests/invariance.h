// Every operation gives the same bits at any number of threads, and its backward pass is the derivative of its forward
// pass.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include "core/parallel.h"
#include "tests/operation.h"

namespace engine::test {

// Checks that run(), which returns all results of an operation, gives the same bits at 1, 2 and 3 threads.
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

// Copies a tensor to a place that lies so many elements behind an address that vectors are aligned to.
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

struct Derivatives {
  Values values, errors;
};

// Differentiates value() by each element of `input`, with central differences. value() errs by value_error at most. The
// error of a difference is of order step^2, so that two steps show it: it is a third of what lies between them.
inline Derivatives finite_differences(Values& input, const std::function<double()>& value, double step,
                                      double value_error) {
  Derivatives result;
  for (double& element : input) {
    const double before = element;
    const auto difference = [&](double by) {
      element = before + by;
      const double above = value();
      element = before - by;
      const double below = value();
      element = before;
      return (above - below) / (2 * by);
    };
    const double fine = difference(step), coarse = difference(2 * step);
    result.values.push_back(fine);
    result.errors.push_back(std::abs(fine - coarse) + value_error / step);
  }
  value();
  return result;
}

// Checks a gradient of a reference in double. The differences must be good enough to show any wrong element.
inline void check_derivative(const Values& gradient, Values& input, const std::function<double()>& value) {
  const double value_error = 0x1p-46 * (1 + std::abs(value()));  // some hundred roundings in double
  const Derivatives differences = finite_differences(input, value, 1e-5, value_error);
  CHECK_ELEMENTS(gradient, differences.values, differences.errors);
  double largest = 0;
  for (double element : gradient) largest = std::max(largest, std::abs(element));
  for (double error : differences.errors) CHECK(error <= 1e-6 * largest);
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}

}  // namespace engine::test
