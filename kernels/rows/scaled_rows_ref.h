// The specification of kernels/rows/scaled_rows.h in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/rows/scaled_rows.h"

namespace engine::reference {

template <class T>
struct ScaledRows {
  size_t cols = 0;
  std::vector<T> weights;
  size_t at = 0;
  Gate gate = Gate::relu;

  T softmax(size_t m) const {
    T sum = 0;
    for (const T w : weights) sum += std::exp(w);
    return std::exp(weights[m]) / sum;
  }
  T scale() const { return gate == Gate::relu ? std::max(T(0), weights[at]) : softmax(at); }

  void add(const std::vector<T>& x, const std::vector<int>& from, std::vector<T>& y, const std::vector<int>& to) const {
    for (size_t i = 0; i < from.size(); ++i)
      for (size_t c = 0; c < cols; ++c)
        y[static_cast<size_t>(to[i]) * cols + c] += scale() * x[static_cast<size_t>(from[i]) * cols + c];
  }
  // Returns the gradient of the weights.
  std::vector<T> backward(const std::vector<T>& x, const std::vector<int>& from, const std::vector<T>& dy,
                          const std::vector<int>& to) const {
    T g = 0;
    for (size_t i = 0; i < from.size(); ++i)
      for (size_t c = 0; c < cols; ++c)
        g += dy[static_cast<size_t>(to[i]) * cols + c] * x[static_cast<size_t>(from[i]) * cols + c];
    std::vector<T> result(weights.size());
    for (size_t m = 0; m < weights.size(); ++m) {
      if (gate == Gate::relu) result[m] = m == at && weights[at] > 0 ? g : T(0);
      else result[m] = g * softmax(at) * (T(m == at) - softmax(m));
    }
    return result;
  }
};

}  // namespace engine::reference
