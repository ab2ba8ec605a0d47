// The specification of kernels/losses/cosine_loss.h in plain loops.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/losses/cosine_loss.h"

namespace engine::reference {

template <class T>
struct CosineLoss {
  size_t rows = 0, cols = 0;
  std::vector<T> x, y;
  double gradient_scale = 1;
  double loss = 0;
  std::vector<T> row_losses, dx;

  void run() {
    row_losses.assign(rows, 0);
    dx.assign(rows * cols, 0);
    loss = 0;
    for (size_t r = 0; r < rows; ++r) {
      double xx = static_cast<double>(cosine_epsilon), yy = xx, xy = 0;
      for (size_t i = r * cols; i < (r + 1) * cols; ++i) {
        const double a = static_cast<double>(x[i]), b = static_cast<double>(y[i]);
        xx += a * a;
        yy += b * b;
        xy += a * b;
      }
      const double cosine = xy / (std::sqrt(xx) * std::sqrt(yy));
      row_losses[r] = static_cast<T>(1 - cosine);
      loss += 1 - cosine;
      for (size_t i = r * cols; i < (r + 1) * cols; ++i) {
        const double a = static_cast<double>(x[i]), b = static_cast<double>(y[i]);
        dx[i] = static_cast<T>(gradient_scale * (cosine * a / xx - b / (std::sqrt(xx) * std::sqrt(yy))));
      }
    }
  }
};

}  // namespace engine::reference
