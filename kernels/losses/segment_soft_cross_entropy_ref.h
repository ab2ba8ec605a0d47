// The specification of kernels/losses/segment_soft_cross_entropy.h in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace engine::reference {

template <class T>
struct SegmentSoftCrossEntropy {
  size_t cols = 0;
  std::vector<T> logits, targets;  // [N, cols]
  std::vector<int> begin, end;     // rows of each sequence
  double temperature = 1, gradient_scale = 1;
  double loss = 0;
  std::vector<T> dlogits;  // added to
  std::vector<T> sizes;    // sums of the magnitudes of what was added

  void run() {
    loss = 0;
    sizes.assign(logits.size(), 0);
    for (size_t s = 0; s < begin.size(); ++s)
      for (size_t k = 0; k < cols; ++k) column(static_cast<size_t>(begin[s]), static_cast<size_t>(end[s]), k);
  }

 private:
  // Returns the logarithms of a column's probabilities at the temperature.
  std::vector<double> log_softmax(const std::vector<T>& values, size_t first, size_t last, size_t k) const {
    std::vector<double> result;
    for (size_t i = first; i < last; ++i) result.push_back(static_cast<double>(values[i * cols + k]) / temperature);
    if (result.empty()) return result;
    const double high = *std::max_element(result.begin(), result.end());
    double sum = 0;
    for (double value : result) sum += std::exp(value - high);
    for (double& value : result) value -= high + std::log(sum);
    return result;
  }
  void column(size_t first, size_t last, size_t k) {
    const std::vector<double> q = log_softmax(logits, first, last, k), p = log_softmax(targets, first, last, k);
    for (size_t i = 0; i < q.size(); ++i) {
      const double of_teacher = std::exp(p[i]);
      if (of_teacher != 0) loss += temperature * temperature * of_teacher * (p[i] - q[i]);
      const size_t at = (first + i) * cols + k;
      dlogits[at] += static_cast<T>(gradient_scale * temperature * (std::exp(q[i]) - of_teacher));
      sizes[at] += static_cast<T>(std::abs(gradient_scale) * temperature * (std::exp(q[i]) + of_teacher));
    }
  }
};

}  // namespace engine::reference
