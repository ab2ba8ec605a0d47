// The specification of kernels/losses/span_mask_loss.h in plain loops: probabilities, no logarithms of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace engine::reference {

template <class T>
struct SpanMaskLoss {
  std::vector<T> logits, mask;  // [N, 2], [N]
  std::vector<int> begin, end;  // rows of each sequence
  double weight = 1, gradient_scale = 1;
  double total = 0;
  std::vector<T> dlogits;  // [N, 2], added to
  std::vector<T> sizes;    // [N, 2], sums of the magnitudes of what was added

  void run() {
    total = 0;
    sizes.assign(logits.size(), 0);
    for (size_t s = 0; s < begin.size(); ++s) {
      const auto first = static_cast<size_t>(begin[s]), last = static_cast<size_t>(end[s]);
      double covered = 0;
      for (size_t i = first; i < last; ++i) covered += static_cast<double>(mask[i]);
      if (covered > 0) sequence(first, last - first);
    }
  }

 private:
  std::vector<double> softmax(size_t first, size_t rows, size_t column) const {
    std::vector<double> p(rows);
    double high = -INFINITY, sum = 0;
    for (size_t i = 0; i < rows; ++i) p[i] = static_cast<double>(logits[2 * (first + i) + column]);
    for (const double value : p) high = std::max(high, value);
    for (double& value : p) sum += value = std::exp(value - high);
    for (double& value : p) value /= sum;
    return p;
  }
  void sequence(size_t first, size_t rows) {
    const std::vector<double> p = softmax(first, rows, 0), o = softmax(first, rows, 1);
    const double scale = weight / static_cast<double>(rows);
    for (size_t i = 0; i < rows; ++i) {
      double a = 0, a_rest = 0, b = 0, b_rest = 0;
      for (size_t j = 0; j < rows; ++j) {
        (j <= i ? a : a_rest) += p[j];
        (j >= i ? b : b_rest) += o[j];
      }
      const double m = static_cast<double>(mask[first + i]), q = a * b, rest = a_rest + a * b_rest;
      if (m > 0) total -= scale * m * std::log(q);
      if (m < 1) total -= scale * (1 - m) * std::log(rest);
      for (size_t j = 0; j < rows; ++j) {
        const double by_a = p[j] * (j <= i ? a_rest : -a), by_b = o[j] * (j >= i ? b_rest : -b);
        add(2 * (first + j), scale, m > 0 ? -m * by_a / a : 0, m < 1 ? (1 - m) * by_a * b / rest : 0);
        add(2 * (first + j) + 1, scale, m > 0 ? -m * by_b / b : 0, m < 1 ? (1 - m) * by_b * a / rest : 0);
      }
    }
  }
  void add(size_t at, double scale, double of_mask, double of_rest) {
    dlogits[at] += static_cast<T>(gradient_scale * scale * (of_mask + of_rest));
    sizes[at] += static_cast<T>(std::abs(gradient_scale * scale) * (std::abs(of_mask) + std::abs(of_rest)));
  }
};

}  // namespace engine::reference
