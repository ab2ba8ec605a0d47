// The specification of kernels/optimizer/optimizer.h in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace engine::reference {

template <class T>
double sum_of_squares(const std::vector<std::vector<T>>& tensors) {
  double total = 0;
  for (const std::vector<T>& tensor : tensors)
    for (const T& value : tensor) total += static_cast<double>(value) * static_cast<double>(value);
  return total;
}

// Returns the sum of the squares that remain.
template <class T>
double clip_norms(std::vector<std::vector<T>>& tensors, double max_norm) {
  for (std::vector<T>& tensor : tensors) {
    double squares = 0;
    for (const T& value : tensor) squares += static_cast<double>(value) * static_cast<double>(value);
    const double norm = std::sqrt(squares);
    if (!(norm > max_norm) || std::isinf(norm)) continue;
    for (T& value : tensor) value = static_cast<T>(static_cast<double>(value) * (max_norm / norm));
  }
  return sum_of_squares(tensors);
}

template <class T>
struct AdamW {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  double max_norm = 0, norm_squared = 0;
  int step = 1;

  void update(std::vector<T>& value, std::vector<T>& gradient, std::vector<T>& m, std::vector<T>& v, double scale,
              bool decays) const {
    const double norm = std::sqrt(norm_squared), lr = learning_rate * scale;
    const double clip = max_norm > 0 && norm > max_norm ? max_norm / norm : 1.0;
    const double correction1 = 1 - std::pow(beta1, step), correction2 = 1 - std::pow(beta2, step);
    for (size_t i = 0; i < value.size(); ++i) {
      const double g = static_cast<double>(gradient[i]) * clip;
      double w = static_cast<double>(value[i]);
      if (decays) w *= 1 - lr * weight_decay;
      m[i] = static_cast<T>(beta1 * static_cast<double>(m[i]) + (1 - beta1) * g);
      v[i] = static_cast<T>(beta2 * static_cast<double>(v[i]) + (1 - beta2) * g * g);
      const double denominator = std::sqrt(static_cast<double>(v[i])) / std::sqrt(correction2) + epsilon;
      value[i] = static_cast<T>(w - lr / correction1 * static_cast<double>(m[i]) / denominator);
      gradient[i] = T(0);
    }
  }
};

}  // namespace engine::reference
