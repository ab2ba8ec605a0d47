// The specification of kernels/rows/rows.h in plain loops.
#pragma once

#include <cstddef>
#include <vector>

namespace engine::reference {

template <class T>
struct Matrix {
  size_t cols;
  std::vector<T> values;
};

// Copies the columns x_begin ... x_begin + width - 1 of x to those of y from y_begin on.
template <class T>
void gather_rows(const Matrix<T>& x, size_t x_begin, const std::vector<int>& index, Matrix<T>& y, size_t y_begin,
                 size_t width) {
  for (size_t i = 0; i < index.size(); ++i)
    for (size_t c = 0; c < width; ++c)
      y.values[i * y.cols + y_begin + c] = x.values[static_cast<size_t>(index[i]) * x.cols + x_begin + c];
}

template <class T>
void scatter_rows(const Matrix<T>& x, size_t x_begin, const std::vector<int>& index, Matrix<T>& y, size_t y_begin,
                  size_t width) {
  for (size_t i = 0; i < index.size(); ++i)
    for (size_t c = 0; c < width; ++c)
      y.values[static_cast<size_t>(index[i]) * y.cols + y_begin + c] = x.values[i * x.cols + x_begin + c];
}

}  // namespace engine::reference
