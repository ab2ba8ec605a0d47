// The specification of kernels/losses/segment_cross_entropy.h in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace engine::reference {

template <class T>
struct SegmentCrossEntropy {
  size_t cols = 0;
  std::vector<T> logits, targets;  // [N, cols]
  std::vector<int> begin, end;     // rows of each sequence
  double gradient_scale = 1;
  double loss = 0, right = 0;  // right: sequences whose likeliest rows are the meant ones
  std::vector<T> row_losses, dlogits;

  void run() {
    row_losses.assign(begin.size(), 0);
    loss = right = 0;
    for (size_t s = 0; s < begin.size(); ++s) {
      const auto first = static_cast<size_t>(begin[s]), last = static_cast<size_t>(end[s]);
      double sum = 0;
      bool is_right = first < last;
      for (size_t k = 0; k < cols; ++k) {
        sum += column(first, last, k);
        is_right = is_right && largest(logits, first, last, k) == largest(targets, first, last, k);
      }
      right += is_right && !std::isnan(sum);
      row_losses[s] = static_cast<T>(sum);
      loss += sum;
    }
  }

 private:
  size_t largest(const std::vector<T>& values, size_t first, size_t last, size_t k) const {
    size_t best = first;
    for (size_t i = first; i < last; ++i)
      if (values[i * cols + k] > values[best * cols + k]) best = i;
    return best;
  }
  // Returns the loss of one column of one sequence, and writes its gradient.
  double column(size_t first, size_t last, size_t k) {
    if (first == last) return 0;
    const auto z = [&](size_t i) { return static_cast<double>(logits[i * cols + k]); };
    const auto y = [&](size_t i) { return static_cast<double>(targets[i * cols + k]); };
    double largest = z(first), sum = 0, weight = 0, result = 0;
    for (size_t i = first; i < last; ++i) largest = std::max(largest, z(i));
    for (size_t i = first; i < last; ++i) sum += std::exp(z(i) - largest), weight += y(i);
    const double lse = largest + std::log(sum);
    for (size_t i = first; i < last; ++i) {
      if (y(i) != 0) result += y(i) * (lse - z(i));
      dlogits[i * cols + k] = static_cast<T>(gradient_scale * (weight * std::exp(z(i) - lse) - y(i)));
    }
    return result;
  }
};

}  // namespace engine::reference
