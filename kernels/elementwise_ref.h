// The specification of kernels/elementwise.h in plain loops.
#pragma once

#include <vector>

namespace engine::reference {

template <class T>
void lerp(const std::vector<T>& x, double t, std::vector<T>& y) {
  for (size_t i = 0; i < y.size(); ++i)
    y[i] = static_cast<T>(static_cast<double>(y[i]) + t * (static_cast<double>(x[i]) - static_cast<double>(y[i])));
}

template <class To, class From>
std::vector<To> copy(const std::vector<From>& x) {
  std::vector<To> y;
  for (const From& value : x) y.push_back(static_cast<To>(value));
  return y;
}

}  // namespace engine::reference
