// The specification of kernels/elementwise/activation.h in plain loops. matmul_ref.h has the functions themselves.
#pragma once

#include <vector>

#include "kernels/matmul/matmul_ref.h"

namespace engine::reference {

template <class T>
std::vector<T> activation_forward(Activation act, const std::vector<T>& x) {
  std::vector<T> y;
  for (const T& value : x) y.push_back(static_cast<T>(activation(act, static_cast<double>(value))));
  return y;
}

template <class T>
std::vector<T> activation_backward(Activation act, const std::vector<T>& x, const std::vector<T>& dy) {
  std::vector<T> dx;
  for (size_t i = 0; i < x.size(); ++i)
    dx.push_back(static_cast<T>(static_cast<double>(dy[i]) * activation_gradient(act, static_cast<double>(x[i]))));
  return dx;
}

}  // namespace engine::reference
