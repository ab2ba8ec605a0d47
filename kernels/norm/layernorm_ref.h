// The specification of kernels/norm/layernorm.h in plain loops.
#pragma once

#include <cmath>
#include <vector>

#include "core/random.h"

namespace engine::reference {

template <class T>
struct LayerNorm {
  size_t rows = 0, cols = 0;
  std::vector<T> x, residual, gain, bias;  // x or residual may be empty, and bias
  double epsilon = 1e-5;
  Dropout dropout;
  std::vector<T> sum, y, mean, rstd;

  std::vector<T> dy, dsum;                 // dsum holds the gradient to add to, or is empty
  std::vector<T> dx, dgain, dbias;         // dgain, dbias: +=

  T dropped(T value, size_t element) const {
    if (dropout.rate == 0) return value;
    const int64_t index = dropout.first_row * static_cast<int64_t>(cols) + static_cast<int64_t>(element);
    return dropout.drops(index) ? T(0) : static_cast<T>(value * static_cast<T>(dropout.scale()));
  }

  void forward() {
    sum.assign(rows * cols, 0);
    y = sum;
    mean.assign(rows, 0);
    rstd = mean;
    for (size_t n = 0; n < rows; ++n) {
      double total = 0, squares = 0;
      for (size_t i = n * cols; i < (n + 1) * cols; ++i) {
        sum[i] = (residual.empty() ? T(0) : residual[i]) + (x.empty() ? T(0) : dropped(x[i], i));
        total += sum[i];
      }
      const double average = total / static_cast<double>(cols);
      for (size_t i = n * cols; i < (n + 1) * cols; ++i) squares += (sum[i] - average) * (sum[i] - average);
      mean[n] = static_cast<T>(average);
      rstd[n] = static_cast<T>(1 / std::sqrt(squares / static_cast<double>(cols) + epsilon));
      for (size_t c = 0; c < cols; ++c)
        y[n * cols + c] = (sum[n * cols + c] - mean[n]) * rstd[n] * gain[c] + (bias.empty() ? T(0) : bias[c]);
    }
  }

  void backward() {
    dsum.resize(rows * cols);
    dx.assign(rows * cols, 0);
    dgain.resize(cols);
    dbias.resize(cols);
    for (size_t n = 0; n < rows; ++n) {
      double g_mean = 0, gn_mean = 0;
      for (size_t c = 0; c < cols; ++c) {
        const T normed = (sum[n * cols + c] - mean[n]) * rstd[n];
        const T d = dy[n * cols + c];
        g_mean += d * gain[c] / static_cast<double>(cols);
        gn_mean += d * gain[c] * normed / static_cast<double>(cols);
        dgain[c] += d * normed;
        dbias[c] += d;
      }
      for (size_t c = 0; c < cols; ++c) {
        const size_t i = n * cols + c;
        const T normed = (sum[i] - mean[n]) * rstd[n];
        dsum[i] += rstd[n] * (dy[i] * gain[c] - static_cast<T>(g_mean) - normed * static_cast<T>(gn_mean));
        dx[i] = dropped(dsum[i], i);
      }
    }
  }
};

}  // namespace engine::reference
