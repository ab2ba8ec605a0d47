// The specification of kernels/lstm/lstm.h in plain loops.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace engine::reference {

template <class T>
struct Lstm {
  size_t width = 0;             // C
  std::vector<size_t> offsets;  // [S+1], where sequences begin
  std::vector<T> weight;        // [4C, C]
  std::vector<T> first_h, first_c;  // [S, C], or empty

  // Written by forward.
  std::vector<T> gates, y, c, last_h, last_c;
  // Written by backward.
  std::vector<T> dgates, h_before, dweight, dfirst_h, dfirst_c;

  size_t sequences() const { return offsets.size() - 1; }
  static T sigmoid(T x) { return 1 / (1 + std::exp(-x)); }

  // sums [N, 4C] are those of the gates without the recurrent product.
  void forward(const std::vector<T>& sums) {
    gates = sums;
    y.assign(sums.size() / 4, 0);
    c = y;
    last_h.assign(sequences() * width, 0);
    if (!first_h.empty()) last_h = first_h;
    last_c.assign(sequences() * width, 0);
    if (!first_c.empty()) last_c = first_c;
    for (size_t s = 0; s < sequences(); ++s) {
      T *const h = &last_h[s * width], *const cell = &last_c[s * width];
      for (size_t row = offsets[s]; row < offsets[s + 1]; ++row) {
        T* const p = &gates[row * 4 * width];
        for (size_t j = 0; j < 4 * width; ++j)
          for (size_t k = 0; k < width; ++k) p[j] += h[k] * weight[j * width + k];
        for (size_t j = 0; j < width; ++j) {
          for (size_t gate : {0, 1, 3}) p[gate * width + j] = sigmoid(p[gate * width + j]);
          p[2 * width + j] = std::tanh(p[2 * width + j]);
          cell[j] = p[width + j] * cell[j] + p[j] * p[2 * width + j];
          h[j] = p[3 * width + j] * std::tanh(cell[j]);
          c[row * width + j] = cell[j];
          y[row * width + j] = h[j];
        }
      }
    }
  }

  // dlast_h and dlast_c [S, C] may be empty.
  void backward(const std::vector<T>& dy, const std::vector<T>& dlast_h, const std::vector<T>& dlast_c) {
    dgates.assign(gates.size(), 0);
    h_before.assign(y.size(), 0);
    dweight.assign(weight.size(), 0);
    dfirst_h.assign(sequences() * width, 0);
    if (!dlast_h.empty()) dfirst_h = dlast_h;
    dfirst_c.assign(sequences() * width, 0);
    if (!dlast_c.empty()) dfirst_c = dlast_c;
    for (size_t s = 0; s < sequences(); ++s) {
      T *const dh = &dfirst_h[s * width], *const dc = &dfirst_c[s * width];
      for (size_t row = offsets[s + 1]; row-- > offsets[s];) {
        const bool is_first = row == offsets[s];
        const T* const p = &gates[row * 4 * width];
        T* const dp = &dgates[row * 4 * width];
        for (size_t j = 0; j < width; ++j) {
          const T i = p[j], f = p[width + j], g = p[2 * width + j], o = p[3 * width + j];
          const T t = std::tanh(c[row * width + j]), dhj = dh[j] + dy[row * width + j];
          T before = is_first ? 0 : c[(row - 1) * width + j], h = is_first ? 0 : y[(row - 1) * width + j];
          if (is_first && !first_c.empty()) before = first_c[s * width + j];
          if (is_first && !first_h.empty()) h = first_h[s * width + j];
          h_before[row * width + j] = h;
          const T dcj = dc[j] + dhj * o * (1 - t * t);
          dp[j] = dcj * g * i * (1 - i);
          dp[width + j] = dcj * before * f * (1 - f);
          dp[2 * width + j] = dcj * i * (1 - g * g);
          dp[3 * width + j] = dhj * t * o * (1 - o);
          dc[j] = dcj * f;
        }
        for (size_t k = 0; k < width; ++k) dh[k] = 0;
        for (size_t j = 0; j < 4 * width; ++j)
          for (size_t k = 0; k < width; ++k) {
            dh[k] += dp[j] * weight[j * width + k];
            dweight[j * width + k] += dp[j] * h_before[row * width + k];
          }
      }
    }
  }
};

}  // namespace engine::reference
