// The specification of kernels/rows/column_chain.h in plain loops.
#pragma once

#include <cstddef>
#include <vector>

namespace engine::reference {

template <class T>
struct ColumnChain {
  size_t cols = 0, from = 0, to = 1;
  T weight = 0;

  void forward(std::vector<T>& y) const {
    for (size_t row = 0; row + cols <= y.size(); row += cols) y[row + to] += weight * y[row + from];
  }
  // Returns the weight's gradient.
  T backward(const std::vector<T>& y, std::vector<T>& dy) const {
    T dweight = 0;
    for (size_t row = 0; row + cols <= y.size(); row += cols) {
      dweight += dy[row + to] * y[row + from];
      dy[row + from] += weight * dy[row + to];
    }
    return dweight;
  }
};

}  // namespace engine::reference
