// Attention as attention.h defines it, one score at a time: the specification. Sums are in double.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/attention.h"

namespace engine {

struct AttentionReference {
  int64_t heads, width;  // H, D: rows of q, k, v, y and their gradients are [H D]
  std::vector<AttentionSpan> spans;
  bool causal;
  double scale;
  Dropout dropout;

  double factor(int64_t query_row, int64_t head, int64_t key) const {
    if (dropout.rate == 0) return 1;
    const int64_t row = dropout.first_row + query_row;
    return dropout.drops(((row * heads + head) << 16) + key) ? 0.0 : 1.0 / (1.0 - static_cast<double>(dropout.rate));
  }

  template <class T>
  double dot(const T* a, int64_t row_a, const T* b, int64_t row_b, int64_t head) const {
    double sum = 0;
    for (int64_t d = 0; d < width; ++d)
      sum += static_cast<double>(a[(row_a * heads + head) * width + d]) *
             static_cast<double>(b[(row_b * heads + head) * width + d]);
    return sum;
  }

  // The probabilities of one query, and its log-sum-exp.
  template <class T>
  std::vector<double> probabilities(const T* q, const T* k, const AttentionSpan& span, int64_t query, int64_t head,
                                    double& lse) const {
    std::vector<double> p(static_cast<size_t>(span.visible(query, causal)));
    double highest = -INFINITY, sum = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      p[j] = scale * dot(q, span.query_begin + query, k, span.key_begin + static_cast<int64_t>(j), head);
      highest = std::max(highest, p[j]);
    }
    for (double score : p) sum += std::exp(score - highest);
    lse = p.empty() ? -INFINITY : highest + std::log(sum);
    for (double& score : p) score = std::exp(score - lse);
    return p;
  }

  template <class T>
  void forward(const T* q, const T* k, const T* v, T* y, T* lse) const {
    for (const AttentionSpan& span : spans)
      for (int64_t i = 0; i < span.queries; ++i)
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t row = span.query_begin + i;
          double log_sum;
          const std::vector<double> p = probabilities(q, k, span, i, h, log_sum);
          lse[row * heads + h] = static_cast<T>(log_sum);
          for (int64_t d = 0; d < width; ++d) {
            double sum = 0;
            for (size_t j = 0; j < p.size(); ++j) {
              const int64_t key = static_cast<int64_t>(j);
              sum +=
                  p[j] * factor(row, h, key) * static_cast<double>(v[((span.key_begin + key) * heads + h) * width + d]);
            }
            y[(row * heads + h) * width + d] = static_cast<T>(sum);
          }
        }
  }

  // Gradients are added up: dq, dk and dv come in as zeros. Derived from P alone, without y and lse.
  void backward(const double* q, const double* k, const double* v, const double* dy, double* dq, double* dk,
                double* dv) const {
    for (const AttentionSpan& span : spans)
      for (int64_t i = 0; i < span.queries; ++i)
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t row = span.query_begin + i;
          double log_sum, mean = 0;
          const std::vector<double> p = probabilities(q, k, span, i, h, log_sum);
          std::vector<double> dp(p.size());
          for (size_t j = 0; j < p.size(); ++j) {
            const int64_t key = static_cast<int64_t>(j);
            dp[j] = factor(row, h, key) * dot(dy, row, v, span.key_begin + key, h);
            mean += p[j] * dp[j];
          }
          for (size_t j = 0; j < p.size(); ++j) {
            const int64_t key = static_cast<int64_t>(j);
            const double ds = scale * p[j] * (dp[j] - mean), dropped = p[j] * factor(row, h, key);
            const int64_t at_query = (row * heads + h) * width, at_key = ((span.key_begin + key) * heads + h) * width;
            for (int64_t d = 0; d < width; ++d) {
              dv[at_key + d] += dropped * dy[at_query + d];
              dq[at_query + d] += ds * k[at_key + d];
              dk[at_key + d] += ds * q[at_query + d];
            }
          }
        }
  }
};

}  // namespace engine
