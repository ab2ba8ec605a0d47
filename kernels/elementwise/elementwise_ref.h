// The specification of kernels/elementwise/elementwise.h in plain loops.
#pragma once

#include <vector>

#include "core/random.h"

namespace engine::reference {

template <class T>
void lerp(const std::vector<T>& x, double t, std::vector<T>& y) {
  for (size_t i = 0; i < y.size(); ++i)
    y[i] = static_cast<T>(static_cast<double>(y[i]) + t * (static_cast<double>(x[i]) - static_cast<double>(y[i])));
}

// residual may be empty. Element 0 of x is the dropout's element first_row cols.
template <class T>
std::vector<T> dropout(const std::vector<T>& x, const std::vector<T>& residual, const Dropout& how, int64_t cols) {
  std::vector<T> y = x;
  for (size_t i = 0; i < y.size(); ++i) {
    if (how.rate > 0)
      y[i] = how.drops(how.first_row * cols + static_cast<int64_t>(i)) ? T(0) : y[i] * static_cast<T>(how.scale());
    if (!residual.empty()) y[i] += residual[i];
  }
  return y;
}

template <class To, class From>
std::vector<To> copy(const std::vector<From>& x) {
  std::vector<To> y;
  for (const From& value : x) y.push_back(static_cast<To>(value));
  return y;
}

}  // namespace engine::reference
