// The specification of kernels/losses/soft_cross_entropy.h in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace engine::reference {

template <class T>
struct SoftCrossEntropy {
  size_t rows = 0, vocabulary = 0;
  std::vector<T> logits, targets;
  double temperature = 1, gradient_scale = 1;
  double loss = 0;
  std::vector<T> row_losses, dlogits;

  void run() {
    row_losses.assign(rows, 0);
    dlogits.assign(rows * vocabulary, 0);
    loss = 0;
    for (size_t r = 0; r < rows; ++r) {
      const std::vector<double> log_p = log_softmax(targets, r), log_q = log_softmax(logits, r);
      double divergence = 0;
      for (size_t v = 0; v < vocabulary; ++v) {
        const double p = std::exp(log_p[v]);
        if (p != 0) divergence += p * (log_p[v] - log_q[v]);
        dlogits[r * vocabulary + v] = static_cast<T>(gradient_scale * temperature * (std::exp(log_q[v]) - p));
      }
      const double row_loss = temperature * temperature * divergence;
      row_losses[r] = static_cast<T>(row_loss);
      loss += row_loss;
    }
  }

 private:
  std::vector<double> log_softmax(const std::vector<T>& all, size_t r) const {
    std::vector<double> row;
    for (size_t v = 0; v < vocabulary; ++v) row.push_back(static_cast<double>(all[r * vocabulary + v]) / temperature);
    const double largest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (double value : row) sum += std::exp(value - largest);
    for (double& value : row) value -= largest + std::log(sum);
    return row;
  }
};

}  // namespace engine::reference
