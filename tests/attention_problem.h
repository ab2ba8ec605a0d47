// Compares an attention of given shapes, with all its tensors, with the reference.
#pragma once

#include <algorithm>

#include "kernels/attention/attention_ref.h"
#include "tests/invariance.h"
#include "tests/operation.h"

namespace engine::test {

struct AttentionLengths {
  int queries, keys;
};

struct AttentionCase {
  int heads, width;
  std::vector<AttentionLengths> sequences;
  bool causal = false;
  float rate = 0;
  double size = 1;      // scale of q and of the logits
  int distances = 0;    // distances of relative tables
  bool shared = false;  // whether both are one table
};

// One attention with all its tensors. Sequences of as many queries as keys use one fused matrix q|k|v, one dq|dk|dv and
// the same segments. Others have a matrix for q and one for k|v. Keys lie in slots with room behind them, whose rows
// hold NaN, because no kernel may look at them.
struct AttentionProblem {
  Bench& bench;
  AttentionCase of;
  bool fused = true;
  int64_t width, query_rows = 0, key_rows = 0, longest_query = 0, longest_key = 0;
  std::vector<int> query_begin, query_end, key_begin, key_end;
  AttentionForwardArgs forward;
  AttentionBackwardArgs backward;

  static std::vector<double> columns(const std::vector<double>& matrix, const Columns& part) {
    std::vector<double> result;
    const size_t cols = static_cast<size_t>(part.matrix.cols());
    for (size_t row = 0; row < matrix.size(); row += cols)
      for (int64_t c = part.begin; c < part.begin + part.width; ++c)
        result.push_back(matrix[row + static_cast<size_t>(c)]);
    return result;
  }
  std::vector<double> values(const Columns& part) const { return columns(bench.values(part.matrix), part); }

  AttentionProblem(Bench& b, const AttentionCase& c) : bench(b), of(c), width(c.heads * c.width) {
    for (const AttentionLengths& length : of.sequences) fused = fused && length.queries == length.keys;
    for (const AttentionLengths& length : of.sequences) {
      const int gap = fused ? 0 : 3;
      query_begin.push_back(static_cast<int>(query_rows));
      key_begin.push_back(static_cast<int>(key_rows));
      query_rows += length.queries;
      query_end.push_back(static_cast<int>(query_rows));
      key_end.push_back(static_cast<int>(key_rows) + length.keys);
      key_rows += length.keys + gap;
      longest_query = std::max<int64_t>(longest_query, length.queries);
      longest_key = std::max<int64_t>(longest_key, length.keys);
    }
    const int64_t count = static_cast<int64_t>(of.sequences.size());
    const DType dtype = bench.compute;
    const Segments queries{bench.integers({count}, query_begin), bench.integers({count}, query_end), longest_query};
    const Segments apart{bench.integers({count}, key_begin), bench.integers({count}, key_end), longest_key};
    const Segments keys = fused ? queries : apart;
    Columns q, k, v, dq, dk, dv;
    if (fused) {
      const Tensor all = random_matrix(query_rows, 3 * width, width, {}),
                   gradient = bench.unset(dtype, {query_rows, 3 * width});
      q = {all, 0, width}, k = {all, width, width}, v = {all, 2 * width, width};
      dq = {gradient, 0, width}, dk = {gradient, width, width}, dv = {gradient, 2 * width, width};
    } else {
      q = Columns(random_matrix(query_rows, width + 3, width + 3, {}), 3, width);
      const Tensor both = random_matrix(key_rows, 2 * width, 0, keys);
      k = {both, width, width}, v = {both, 0, width};
      dq = bench.unset(dtype, {query_rows, width});
      dk = bench.unset(dtype, {key_rows, width}), dv = bench.unset(dtype, {key_rows, width});
    }
    const Tensor y = bench.unset(dtype, {query_rows, width}), lse = bench.unset(DType::f32, {query_rows, of.heads});
    const Shape table{relative_rows(of.distances, of.causal), of.width};
    RelativeTables relative{of.distances};
    if (of.distances) {
      relative.keys = bench.normal(DType::f32, table);
      relative.values = of.shared ? relative.keys : bench.normal(DType::f32, table);
      backward.drelative_keys = bench.zeros(table);
      backward.drelative_values = of.shared ? backward.drelative_keys : bench.zeros(table);
    }
    const auto set_common = [&](auto& args) {
      args.q = q, args.k = k, args.v = v;
      args.heads = of.heads, args.queries = queries, args.keys = keys;
      args.causal = of.causal, args.scale = 1 / std::sqrt(static_cast<float>(of.width));
      args.y = y, args.lse = lse;
      args.dropout = {of.rate, 99, 5, 7, 1000};
      args.relative = relative;
    };
    set_common(forward);
    set_common(backward);
    backward.dy = bench.normal(dtype, {query_rows, width});
    backward.dq = dq, backward.dk = dk, backward.dv = dv;
  }

  // Fills rows outside of the segments with NaN.
  Tensor random_matrix(int64_t rows, int64_t cols, int64_t q_columns, const Segments& inside) {
    const double size = of.size;
    std::vector<double> all(static_cast<size_t>(rows * cols), inside.begin ? NAN : 0);
    const auto fill = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * cols; i < end * cols; ++i)
        all[static_cast<size_t>(i)] = (i % cols < q_columns ? size : 1) * static_cast<double>(bench.random.normal());
    };
    if (inside.begin)
      for (size_t s = 0; s < key_begin.size(); ++s) fill(key_begin[s], key_end[s]);
    else fill(0, rows);
    return bench.from(bench.compute, {rows, cols}, all);
  }

  AttentionReference reference() const {
    AttentionReference result{of.heads, of.width, {}, of.causal, static_cast<double>(forward.scale), forward.dropout};
    for (size_t s = 0; s < query_begin.size(); ++s)
      result.spans.push_back({query_begin[s], query_end[s] - query_begin[s], key_begin[s], key_end[s] - key_begin[s]});
    return result;
  }

  // Returns the error of a score, which is the relative error of its probability. A score is a sum of products, whose
  // rounding is relative to the sum of their magnitudes. The worst score has the `largest` one.
  double score_error(const Values& q, const Values& k) const {
    const AttentionReference r = reference();
    const Values size_q = magnitudes(q), size_k = magnitudes(k);
    Values size_table(static_cast<size_t>(of.width));
    if (of.distances) {  // each column's largest element stands for all rows
      const std::vector<double> table = bench.values(forward.relative.keys);
      for (size_t i = 0; i < table.size(); ++i)
        size_table[i % size_table.size()] = std::max(size_table[i % size_table.size()], std::abs(table[i]));
    }
    double largest = 0;
    for (const AttentionSpan& span : r.spans)
      for (int64_t h = 0; h < of.heads; ++h)
        for (int64_t i = 0; i < span.queries; ++i)
          for (int64_t j = 0; j < span.keys; ++j)
            largest =
                std::max(largest, r.scale * r.dot(size_q.data() + r.element(span.query_begin + i, h),
                                                  size_k.data() + r.element(span.key_begin + j, h), size_table.data()));
    return sum_error(of.width) * (1 + largest);
  }

  // The sizes of the sums that results are. An error of a score makes an error of dS relative to the magnitudes of its
  // two terms, dP and delta. In bf16, P and dS are rounded relative to themselves. There delta is made of rounded y,
  // and errs as the norm of dy y does, because the roundings of y are independent.
  struct Sizes {
    Values y, dq, dk, dv, dkeys, dvalues;
  };
  // No probability counts for less than `least`: the smallest ones may be 0.
  Sizes sizes(const AttentionReference& r, const Values& q, const Values& k, const Values& v, const Values& dy,
              double least, bool of_bf16) const {
    Sizes s{Values(q.size()), Values(q.size()), Values(k.size()), Values(k.size()), {}, {}};
    const size_t table = r.distances ? static_cast<size_t>(relative_rows(r.distances, r.causal) * r.width) : 0;
    s.dkeys.resize(table), s.dvalues.resize(table);
    const auto table_at = [&](const double* values, int64_t at) { return r.distances ? std::abs(values[at]) : 0.0; };
    const auto at = [](auto& values, int64_t i) -> auto& { return values[static_cast<size_t>(i)]; };
    for (const AttentionSpan& span : r.spans)
      for (int64_t i = 0; i < span.queries; ++i)
        for (int64_t h = 0; h < r.heads; ++h) {
          const int64_t row = span.query_begin + i, query = r.element(row, h);
          double lse, mean = 0, delta = 0, norm = 0;
          Values p = r.probabilities(q.data(), k.data(), span, i, h, lse), dp(p.size()), signed_dp = dp;
          Values y(static_cast<size_t>(r.width));
          const auto element = [&](size_t j) { return r.element(span.key_begin + static_cast<int64_t>(j), h); };
          const auto relative = [&](size_t j) {
            return r.distances ? r.relative(span, i, static_cast<int64_t>(j)) : 0;
          };
          for (size_t j = 0; j < p.size(); ++j) {
            const double factor = r.factor(row, h, static_cast<int64_t>(j));
            p[j] += least;
            for (int64_t d = 0; d < r.width; ++d) {
              const double value = std::abs(at(v, element(j) + d)) + table_at(r.relative_values, relative(j) + d);
              const double with_sign =
                  at(v, element(j) + d) + (r.distances ? r.relative_values[relative(j) + d] : 0);
              at(s.y, query + d) += p[j] * factor * value;
              at(y, d) += p[j] * factor * with_sign;
              dp[j] += factor * std::abs(at(dy, query + d)) * value;
              signed_dp[j] += factor * at(dy, query + d) * with_sign;
            }
            mean += p[j] * dp[j];
          }
          for (int64_t d = 0; d < r.width; ++d) {
            const double product = at(dy, query + d) * at(y, d);
            delta += product;
            norm += product * product;
          }
          for (size_t j = 0; j < p.size(); ++j) {
            const double terms = of_bf16 ? std::abs(signed_dp[j] - delta) + std::sqrt(norm) : dp[j] + mean;
            const double ds = r.scale * p[j] * terms;
            const double dropped = p[j] * r.factor(row, h, static_cast<int64_t>(j));
            for (int64_t d = 0; d < r.width; ++d) {
              const int64_t key = element(j) + d, in_table = relative(j) + d;
              at(s.dv, key) += dropped * std::abs(at(dy, query + d));
              at(s.dq, query + d) += ds * (std::abs(at(k, key)) + table_at(r.relative_keys, in_table));
              at(s.dk, key) += ds * std::abs(at(q, query + d));
              if (!r.distances) continue;
              at(s.dkeys, in_table) += ds * std::abs(at(q, query + d));
              at(s.dvalues, in_table) += dropped * std::abs(at(dy, query + d));
            }
          }
        }
    return s;
  }

  // Checks that rows outside of all segments are still NaN, and returns all with 0 there.
  std::vector<double> inside_keys(std::vector<double> values) const {
    std::vector<bool> inside(static_cast<size_t>(key_rows));
    for (size_t s = 0; s < key_begin.size(); ++s)
      std::fill(inside.begin() + key_begin[s], inside.begin() + key_end[s], true);
    for (size_t i = 0; i < values.size(); ++i)
      if (!inside[i / static_cast<size_t>(width)]) {
        REQUIRE(std::isnan(values[i]));
        values[i] = 0;
      }
    return values;
  }

  void check() {
    std::vector<double> q = values(forward.q), k = values(forward.k), v = values(forward.v),
                        dy = bench.values(backward.dy);
    for (std::vector<double>* part : {&k, &v})
      if (!fused) *part = inside_keys(*part);
    std::vector<double> y(q.size()), lse(static_cast<size_t>(query_rows * of.heads)), dq(q.size()), dk(k.size()),
        dv(k.size());
    AttentionReference specified = reference();
    std::vector<double> keys, values_table, dkeys, dvalues;
    if (of.distances) {
      keys = bench.values(forward.relative.keys), values_table = bench.values(forward.relative.values);
      dkeys.resize(keys.size()), dvalues.resize(keys.size());
      specified.distances = of.distances;
      specified.relative_keys = keys.data(), specified.relative_values = values_table.data();
    }
    std::vector<double>& dvalues_or_shared = of.shared ? dkeys : dvalues;
    specified.forward(q.data(), k.data(), v.data(), y.data(), lse.data());
    specified.backward(q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data(), dkeys.data(),
                       dvalues_or_shared.data());
    // Probabilities err as scores do, and sums over keys and queries as sums.
    const double of_scores = score_error(q, k);
    const double relative = of_scores + sum_error(std::max(longest_query, longest_key));
    const Sizes size = sizes(specified, q, k, v, dy, 1e-37 / relative, false);
    const bool rounds = bench.compute == DType::bf16;
    const Sizes rounded = rounds ? sizes(specified, q, k, v, dy, 0, true) : Sizes();
    const auto errors = [&](const Values& expected, Values Sizes::* part, DType stored) {
      Values all;
      for (size_t i = 0; i < expected.size(); ++i)
        all.push_back(relative * (size.*part)[i] + (rounds ? 2 * epsilon_of(DType::bf16) * (rounded.*part)[i] : 0) +
                      stored_error(expected[i], stored));
      return all;
    };

    bench.ops.attention_forward(forward);
    CHECK_ELEMENTS(bench.values(forward.y), y, errors(y, &Sizes::y, bench.compute));
    std::vector<double> actual_lse = bench.values(forward.lse), lse_errors(lse.size(), of_scores);
    for (size_t i = 0; i < lse.size(); ++i) {
      if (lse[i] == -INFINITY) {
        CHECK(actual_lse[i] == -INFINITY);
        lse[i] = actual_lse[i] = 0;
      }
      lse_errors[i] += sum_error(longest_key) + stored_error(lse[i], DType::f32);
    }
    CHECK_ELEMENTS(actual_lse, lse, lse_errors);
    bench.ops.attention_backward(backward);
    CHECK_ELEMENTS(values(backward.dq), dq, errors(dq, &Sizes::dq, bench.compute));
    CHECK_ELEMENTS(inside_keys(values(backward.dk)), dk, errors(dk, &Sizes::dk, bench.compute));
    CHECK_ELEMENTS(inside_keys(values(backward.dv)), dv, errors(dv, &Sizes::dv, bench.compute));
    if (!of.distances) return;
    Values key_errors = errors(dkeys, &Sizes::dkeys, DType::f32);
    Values value_errors = errors(dvalues_or_shared, &Sizes::dvalues, DType::f32);
    if (of.shared) key_errors = value_errors = sum_of(key_errors, value_errors);
    CHECK_ELEMENTS(bench.values(backward.drelative_keys), dkeys, key_errors);
    CHECK_ELEMENTS(bench.values(backward.drelative_values), dvalues_or_shared, value_errors);
  }

  std::vector<double> results() {
    bench.ops.attention_forward(forward);
    bench.ops.attention_backward(backward);
    std::vector<double> all = bench.values(forward.y);
    append(all, bench.values(forward.lse));
    for (const Columns* part : {&backward.dq, &backward.dk, &backward.dv}) append(all, values(*part));
    if (of.distances)
      for (const Tensor& gradient : {backward.drelative_keys, backward.drelative_values}) {
        append(all, bench.values(gradient));
        bench.arena.memory().zero(gradient.data, gradient.bytes());
      }
    return all;
  }
};

}  // namespace engine::test
