// The specification of kernels/sampling/sampling.h in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace engine::reference {

// Returns each token's weight in the draw, not normalised: 0 for a token that top_k or top_p leaves out.
template <class T>
std::vector<double> sampling_weights(const std::vector<T>& logits, double temperature, int top_k, double top_p) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  const double largest = static_cast<double>(logits[order[0]]);
  size_t kept = order.size();
  if (temperature == 0) kept = 1;
  if (top_k > 0) kept = std::min(kept, static_cast<size_t>(top_k));
  std::vector<double> weights(logits.size(), 0.0);
  double total = 0;
  for (size_t i = 0; i < kept; ++i) {
    const double distance = static_cast<double>(logits[order[i]]) - largest;
    weights[order[i]] = distance == 0 ? 1.0 : std::exp(distance / temperature);
    total += weights[order[i]];
  }
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) {
    if (i > 0 && top_p < 1 && sum >= top_p * total) weights[order[i]] = 0;
    sum += weights[order[i]];
  }
  return weights;
}

inline size_t draw_token(const std::vector<double>& weights, double draw) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  for (size_t v = 0; v < weights.size(); ++v) {
    sum += weights[v];
    if (sum > draw * total) return v;
  }
  return weights.size();
}

}  // namespace engine::reference
