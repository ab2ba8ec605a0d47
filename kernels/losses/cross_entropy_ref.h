// The specification of kernels/losses/cross_entropy.h in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/losses/cross_entropy.h"

namespace engine::reference {

template <class T>
struct CrossEntropy {
  size_t rows = 0, cols = 0, vocabulary = 0;
  std::vector<T> x, weight, bias;  // bias may be empty
  std::vector<int> labels;
  std::vector<T> row_weights;      // may be empty, for 1
  std::vector<T> penalties;        // may be empty, for 0
  int penalised_token = -1;
  int ranked_token = -1;
  double smoothing = 0, gradient_scale = 1;
  double loss = 0, weights = 0, correct = 0;
  std::vector<T> row_losses, dx, dweight, dbias;  // dweight, dbias: +=
  std::vector<int> ranks, likeliest;              // of rows that are not ignored

  std::vector<double> logits(size_t r) const {
    std::vector<double> l(vocabulary);
    for (size_t v = 0; v < vocabulary; ++v) {
      l[v] = bias.empty() ? 0.0 : static_cast<double>(bias[v]);
      for (size_t c = 0; c < cols; ++c)
        l[v] += static_cast<double>(x[r * cols + c]) * static_cast<double>(weight[v * cols + c]);
    }
    return l;
  }

  void run() {
    row_losses.assign(rows, 0);
    dx.assign(rows * cols, 0);
    ranks.assign(rows, 0);
    likeliest.assign(rows, 0);
    dweight.resize(vocabulary * cols);
    dbias.resize(vocabulary);
    loss = weights = correct = 0;
    for (size_t r = 0; r < rows; ++r)
      if (labels[r] != ignored_label) run_row(r, static_cast<size_t>(labels[r]));
  }

 private:
  void run_row(size_t r, size_t label) {
    const std::vector<double> l = logits(r);
    const double w = row_weights.empty() ? 1.0 : static_cast<double>(row_weights[r]);
    const double tokens = static_cast<double>(vocabulary);
    size_t best = 0;
    for (size_t v = 1; v < vocabulary; ++v)
      if (l[v] > l[best]) best = v;
    likeliest[r] = static_cast<int>(best);
    const size_t ranked = ranked_token < 0 ? label : static_cast<size_t>(ranked_token);
    for (double value : l) ranks[r] += value > l[ranked];
    ++ranks[r];
    double sum = 0, mean = 0;
    for (double value : l) sum += std::exp(value - l[best]);
    for (double value : l) mean += value / tokens;
    const double lse = l[best] + std::log(sum);
    const double u = penalties.empty() ? 0.0 : static_cast<double>(penalties[r]);
    const size_t t = u != 0 ? static_cast<size_t>(penalised_token) : 0;
    const double p = std::exp(l[t] - lse), rest = std::max(1 - p, static_cast<double>(least_rest));
    const double row_loss = w * ((1 - smoothing) * (lse - l[label]) + smoothing * (lse - mean)) - u * std::log(rest);
    row_losses[r] = static_cast<T>(row_loss);
    loss += row_loss;
    weights += w;
    correct += best == label;
    for (size_t v = 0; v < vocabulary; ++v) {
      const double target = (v == label ? 1 - smoothing : 0.0) + smoothing / tokens;
      const double p_v = std::exp(l[v] - lse);
      const double dl = gradient_scale * (w * (p_v - target) + u * p / rest * ((v == t) - p_v));
      dbias[v] += static_cast<T>(dl);
      for (size_t c = 0; c < cols; ++c) {
        dx[r * cols + c] += static_cast<T>(dl * static_cast<double>(weight[v * cols + c]));
        dweight[v * cols + c] += static_cast<T>(dl * static_cast<double>(x[r * cols + c]));
      }
    }
  }
};

}  // namespace engine::reference
