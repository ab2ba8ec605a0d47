// Matrix products in plain loops, the specification that the fast ones are tested against. Everything is in double, and
// the caller rounds operands and results.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/arguments.h"

namespace engine::reference {

inline double activation(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : 0 * x;
    case Activation::gelu: return 0.5 * x * std::erfc(-x * std::sqrt(0.5));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::tanh: return std::tanh(x);
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::quick_gelu: return x / (1 + std::exp(-1.702 * x));
    case Activation::mish: return x * std::tanh(x > 40 ? x : std::log1p(std::exp(x)));
  }
  return NAN;
}

inline double activation_gradient(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return 1;
    case Activation::relu: return x > 0 ? 1 : 0 * x;
    case Activation::gelu:
      return 0.5 * std::erfc(-x * std::sqrt(0.5)) + x * std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI);
    case Activation::gelu_tanh: {
      const double t = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::tanh: return 1 - std::tanh(x) * std::tanh(x);
    case Activation::silu: {
      const double s = 1 / (1 + std::exp(-x));
      return s + x * s * (1 - s);
    }
    case Activation::quick_gelu: {
      const double s = 1 / (1 + std::exp(-1.702 * x));
      return s + 1.702 * x * s * (1 - s);
    }
    case Activation::mish: {
      const double t = std::tanh(x > 40 ? x : std::log1p(std::exp(x)));
      return t + x * (1 - t * t) / (1 + std::exp(-x));
    }
  }
  return NAN;
}

// MatmulArgs with plain pointers. The optional ones may be null.
template <class T>
struct Matmul {
  int64_t M, N, K;
  const T *a, *b;  // a [M, K] or, transposed, [K, M]; b [K, N] or [N, K]
  T* c;            // [M, N]
  bool transpose_a = false, transpose_b = false, accumulate = false;
  const T* bias = nullptr;
  Activation act = Activation::none;
  T* before_activation = nullptr;
  const T* gradient_at = nullptr;
  T* a_row_sums = nullptr;
};

template <class T>
void matmul(const Matmul<T>& m) {
  for (int64_t i = 0; i < m.M; ++i) {
    double row_sum = 0;
    for (int64_t k = 0; k < m.K; ++k)
      row_sum += static_cast<double>(m.transpose_a ? m.a[k * m.M + i] : m.a[i * m.K + k]);
    if (m.a_row_sums) m.a_row_sums[i] += static_cast<T>(row_sum);
    for (int64_t j = 0; j < m.N; ++j) {
      double t = m.bias ? static_cast<double>(m.bias[j]) : 0;
      for (int64_t k = 0; k < m.K; ++k)
        t += static_cast<double>(m.transpose_a ? m.a[k * m.M + i] : m.a[i * m.K + k]) *
             static_cast<double>(m.transpose_b ? m.b[j * m.K + k] : m.b[k * m.N + j]);
      const int64_t at = i * m.N + j;
      if (m.before_activation) m.before_activation[at] = static_cast<T>(t);
      const double value =
          m.gradient_at ? t * activation_gradient(m.act, static_cast<double>(m.gradient_at[at])) : activation(m.act, t);
      m.c[at] = static_cast<T>(m.accumulate ? static_cast<double>(m.c[at]) + value : value);
    }
  }
}

}  // namespace engine::reference
