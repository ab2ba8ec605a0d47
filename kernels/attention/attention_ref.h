// The specification of kernels/attention/attention.h, one score at a time. Sums are in double.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/attention/attention.h"

namespace engine {

struct AttentionReference {
  int64_t heads, width;  // H, D: rows of q, k, v, y and their gradients are [H D]
  std::vector<AttentionSpan> spans;
  bool causal;
  double scale;
  Dropout dropout;
  int64_t distances = 0;  // of relative tables [R, D]; 0: none
  const double *relative_keys = nullptr, *relative_values = nullptr;

  double factor(int64_t query_row, int64_t head, int64_t key) const {
    if (dropout.rate == 0) return 1;
    if (dropout.rate == 1) return 0;
    const int64_t row = dropout.first_row + query_row;
    return dropout.drops(((row * heads + head) << 16) + key) ? 0.0 : 1.0 / (1.0 - static_cast<double>(dropout.rate));
  }

  // Return the first element of a head's row, and that of the relative tables' row for a query and a key.
  int64_t element(int64_t row, int64_t head) const { return (row * heads + head) * width; }
  int64_t relative(const AttentionSpan& span, int64_t query, int64_t key) const {
    return relative_row(distances, span.place(query), key) * width;
  }

  // Multiplies a row of `of` by a row of `with`, to which it adds a table's row where there is a table.
  template <class T>
  double dot(const T* of, const T* with, const double* table = nullptr) const {
    double sum = 0;
    for (int64_t d = 0; d < width; ++d)
      sum += static_cast<double>(of[d]) * (static_cast<double>(with[d]) + (table ? table[d] : 0));
    return sum;
  }

  // Takes the probabilities of one query and its log-sum-exp.
  template <class T>
  std::vector<double> probabilities(const T* q, const T* k, const AttentionSpan& span, int64_t query, int64_t head,
                                    double& lse) const {
    std::vector<double> p(static_cast<size_t>(span.visible(query, causal)));
    double highest = -INFINITY, sum = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      const int64_t key = static_cast<int64_t>(j);
      p[j] = scale * dot(q + element(span.query_begin + query, head), k + element(span.key_begin + key, head),
                         distances ? relative_keys + relative(span, query, key) : nullptr);
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
              const double value = static_cast<double>(v[element(span.key_begin + key, h) + d]);
              sum += p[j] * factor(row, h, key) *
                     (value + (distances ? relative_values[relative(span, i, key) + d] : 0));
            }
            y[element(row, h) + d] = static_cast<T>(sum);
          }
        }
  }

  // Adds to the gradients, which come in as zeros. They come from P alone, without y and lse.
  void backward(const double* q, const double* k, const double* v, const double* dy, double* dq, double* dk,
                double* dv, double* drelative_keys = nullptr, double* drelative_values = nullptr) const {
    for (const AttentionSpan& span : spans)
      for (int64_t i = 0; i < span.queries; ++i)
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t row = span.query_begin + i, at_query = element(row, h);
          double log_sum, mean = 0;
          const std::vector<double> p = probabilities(q, k, span, i, h, log_sum);
          std::vector<double> dp(p.size());
          for (size_t j = 0; j < p.size(); ++j) {
            const int64_t key = static_cast<int64_t>(j);
            dp[j] = factor(row, h, key) * dot(dy + at_query, v + element(span.key_begin + key, h),
                                              distances ? relative_values + relative(span, i, key) : nullptr);
            mean += p[j] * dp[j];
          }
          for (size_t j = 0; j < p.size(); ++j) {
            const int64_t key = static_cast<int64_t>(j);
            const double ds = scale * p[j] * (dp[j] - mean), dropped = p[j] * factor(row, h, key);
            const int64_t at_key = element(span.key_begin + key, h);
            for (int64_t d = 0; d < width; ++d) {
              dv[at_key + d] += dropped * dy[at_query + d];
              dq[at_query + d] += ds * k[at_key + d];
              dk[at_key + d] += ds * q[at_query + d];
              if (!distances) continue;
              const int64_t at_table = relative(span, i, key) + d;
              dq[at_query + d] += ds * relative_keys[at_table];
              drelative_keys[at_table] += ds * q[at_query + d];
              drelative_values[at_table] += dropped * dy[at_query + d];
            }
          }
        }
  }
};

}  // namespace engine
