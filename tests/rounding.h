// This header says how far a computed result may lie from the exact one, element by element. Every tolerance of an
// operation's test is made from the two errors here.
//
// sum_error: let an element be a sum of n terms, and its size the sum of their magnitudes. In whatever order they are
// added, the error is at most n u times the size, with u the unit roundoff. Roundings are independent, so the error is
// almost always below sqrt(n) u times the size (Higham and Mary, A new approach to probabilistic rounding error
// analysis, 2019). Eight roundings more are for what is done to a term or a sum: products, a bias, an exponential.
// stored_error: a result that is stored in bf16 is rounded once more, relative to itself.
//
// So the error of a small element is that of its own terms, however large its neighbours are.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace engine::test {

using Values = std::vector<double>;

// Returns the unit roundoff of a dtype.
inline double epsilon_of(DType dtype) { return dtype == DType::bf16 ? 0x1p-8 : 0x1p-24; }

// Sums are in f32 in every precision.
inline double sum_error(int64_t terms) {
  return (8 + std::sqrt(static_cast<double>(terms))) * epsilon_of(DType::f32);
}

inline double stored_error(double expected, DType stored) {
  constexpr double smallest = 0x1p-149;  // numbers below 2^-126 have a fixed spacing
  return epsilon_of(stored) * std::abs(expected) + smallest;
}

inline Values magnitudes(Values values) {
  for (double& value : values) value = std::abs(value);
  return values;
}

// Returns the error of each element that is a sum of so many terms, of these sizes, and is stored.
inline Values sum_errors(const Values& expected, const Values& sizes, int64_t terms, DType stored) {
  Values errors;
  for (size_t i = 0; i < expected.size(); ++i)
    errors.push_back(sum_error(terms) * sizes.at(i) + stored_error(expected[i], stored));
  return errors;
}

// Returns the error of each element that takes a few roundings, none of which cancels.
inline Values few_roundings(const Values& expected, DType stored) {
  return sum_errors(expected, magnitudes(expected), 1, stored);
}

inline Values sum_of(Values a, const Values& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b.at(i);
  return a;
}

// Describes the worst element, relative to what is allowed there. Empty where all are within it. An element that is not
// finite never is.
inline std::string difference_beyond(const Values& actual, const Values& expected, const Values& allowed) {
  if (actual.size() != expected.size() || allowed.size() != expected.size())
    return std::to_string(actual.size()) + " elements, expected " + std::to_string(expected.size()) + ", allowed for " +
           std::to_string(allowed.size());
  double worst = 1;
  size_t at = expected.size();
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]);
    if (std::isfinite(allowed[i]) && difference <= allowed[i]) continue;
    const bool is_comparable = std::isfinite(difference) && std::isfinite(allowed[i]) && allowed[i] > 0;
    const double excess = is_comparable ? difference / allowed[i] : INFINITY;
    if (excess < worst) continue;
    worst = excess;
    at = i;
  }
  if (at == expected.size()) return "";
  return "element " + std::to_string(at) + " is " + std::to_string(actual[at]) + ", expected " +
         std::to_string(expected[at]) + ": the difference is " + std::to_string(worst) + " times what is allowed";
}

// CHECK_ELEMENTS(bench.values(y), expected, allowed): each element is within its own allowed error.
#define CHECK_ELEMENTS(actual, expected, allowed)                                                              \
  do {                                                                                                         \
    const std::string difference_ = ::engine::test::difference_beyond((actual), (expected), (allowed));        \
    CHECK_MESSAGE(difference_.empty(), #actual, ": ", difference_);                                            \
  } while (false)

}  // namespace engine::test
