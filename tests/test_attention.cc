#include <algorithm>

#include "kernels/attention_ref.h"
#include "tests/invariance.h"
#include "tests/operation.h"

namespace engine::test {
namespace {

struct Lengths {
  int queries, keys;
};

struct Case {
  int heads, width;
  std::vector<Lengths> sequences;
  bool causal = false;
  float rate = 0;
  double size = 1;  // of the elements of q: large ones make large logits
  int distances = 0;    // of relative tables
  bool shared = false;  // one table
};

// One attention with all its tensors. Sequences of as many queries as keys use one fused matrix q|k|v and one dq|dk|dv,
// others a matrix for q and one for k|v. Keys lie in slots with room behind them, whose rows must not be looked at:
// NaN.
struct Problem {
  Bench& bench;
  Case of;
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

  Problem(Bench& b, const Case& c) : bench(b), of(c), width(c.heads * c.width) {
    for (const Lengths& length : of.sequences) fused = fused && length.queries == length.keys;
    for (const Lengths& length : of.sequences) {
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
    const Segments keys{bench.integers({count}, key_begin), bench.integers({count}, key_end), longest_key};
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

  // Rows outside of the segments are NaN.
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

  // A score is a sum of products, whose rounding is relative to the sum of their magnitudes, and what is lost there is
  // an equal relative error of a probability. In bf16, y, the gradients and, in between, probabilities are rounded.
  double tolerance(const std::vector<double>& q, const std::vector<double>& k) const {
    const AttentionReference r = reference();
    std::vector<double> size_q = q, size_k = k, size_table(static_cast<size_t>(of.width));
    for (std::vector<double>* sizes : {&size_q, &size_k})
      for (double& x : *sizes) x = std::abs(x);
    if (of.distances) {  // the largest of each column serves for all rows
      const std::vector<double> table = bench.values(forward.relative.keys);
      for (size_t i = 0; i < table.size(); ++i)
        size_table[i % size_table.size()] = std::max(size_table[i % size_table.size()], std::abs(table[i]));
    }
    double largest = 0;
    for (const AttentionSpan& span : r.spans)
      for (int64_t h = 0; h < of.heads; ++h)
        for (int64_t i = 0; i < span.queries; ++i)
          for (int64_t j = 0; j < span.keys; ++j)
            largest = std::max(largest, r.scale * r.dot(size_q.data() + r.element(span.query_begin + i, h),
                                                        size_k.data() + r.element(span.key_begin + j, h),
                                                        size_table.data()));
    return 16 * epsilon_of(DType::f32) * (1 + largest) +
           (bench.compute == DType::bf16 ? 4 * epsilon_of(DType::bf16) : 0);
  }

  // Rows of no segment are nobody's: 0, after a look that they are as they were.
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
    const double allowed = tolerance(q, k);

    bench.ops.attention_forward(forward);
    CHECK_CLOSE(bench.values(forward.y), y, allowed);
    std::vector<double> actual_lse = bench.values(forward.lse);
    for (size_t i = 0; i < lse.size(); ++i)
      if (lse[i] == -INFINITY) {
        CHECK(actual_lse[i] == -INFINITY);
        lse[i] = actual_lse[i] = 0;
      }
    CHECK_CLOSE(actual_lse, lse, allowed);
    bench.ops.attention_backward(backward);
    if (of.size > 100) {  // the softmax picks one key: gradients are nothing but rounding
      for (const Columns* part : {&backward.dq, &backward.dk, &backward.dv})
        for (double x : values(*part)) REQUIRE(std::abs(x) <= of.size);
      return;
    }
    CHECK_CLOSE(values(backward.dq), dq, allowed);
    CHECK_CLOSE(inside_keys(values(backward.dk)), dk, allowed);
    CHECK_CLOSE(inside_keys(values(backward.dv)), dv, allowed);
    if (!of.distances) return;
    CHECK_CLOSE(bench.values(backward.drelative_keys), dkeys, allowed);
    CHECK_CLOSE(bench.values(backward.drelative_values), dvalues_or_shared, allowed);
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

void check_case(const Case& of) {
  CAPTURE(of.heads);
  CAPTURE(of.width);
  CAPTURE(of.causal);
  CAPTURE(of.rate);
  CAPTURE(of.distances);
  on_every_backend([&](Bench& bench) { Problem(bench, of).check(); });
}

}  // namespace

TEST_CASE("attention: the reference's gradients are the derivatives of its forward pass") {
  AttentionReference reference{2, 3, {{0, 4, 0, 5}, {4, 3, 5, 2}}, true, 0.7, {0.3f, 11, 2, 3, 10}};
  Random random(5, 0);
  const auto normal = [&](size_t count) {
    std::vector<double> result(count);
    for (double& x : result) x = static_cast<double>(random.normal());
    return result;
  };
  std::vector<double> q = normal(7 * 6), k = normal(7 * 6), v = normal(7 * 6), y(q.size()), lse(7 * 2);
  const std::vector<double> dy = normal(7 * 6);
  std::vector<double> dq(q.size()), dk(k.size()), dv(v.size());
  reference.backward(q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data());
  const auto value = [&] {
    reference.forward(q.data(), k.data(), v.data(), y.data(), lse.data());
    return dot(y, dy);
  };
  CHECK_CLOSE(dq, finite_differences(q, value), finite_difference_tolerance);
  CHECK_CLOSE(dk, finite_differences(k, value), finite_difference_tolerance);
  CHECK_CLOSE(dv, finite_differences(v, value), finite_difference_tolerance);

  // The same with tables of 2 distances, of which the segments have more and fewer.
  for (const bool causal : {false, true}) {
    reference.causal = causal;
    reference.distances = 2;
    const size_t size = static_cast<size_t>(relative_rows(2, causal)) * 3;
    std::vector<double> keys = normal(size), values = normal(size), dkeys(size), dvalues(size);
    reference.relative_keys = keys.data(), reference.relative_values = values.data();
    for (std::vector<double>* gradient : {&dq, &dk, &dv}) std::fill(gradient->begin(), gradient->end(), 0);
    reference.backward(q.data(), k.data(), v.data(), dy.data(), dq.data(), dk.data(), dv.data(), dkeys.data(),
                       dvalues.data());
    for (auto [gradient, of] : {std::pair{&dq, &q}, {&dk, &k}, {&dv, &v}, {&dkeys, &keys}, {&dvalues, &values}})
      CHECK_CLOSE(*gradient, finite_differences(*of, value), finite_difference_tolerance);
  }
}

TEST_CASE("attention: widths of heads") {
  for (int width : {1, 5, 16, 24, 32, 40, 64, 96, 128})
    for (bool causal : {false, true}) check_case({2, width, {{37, 37}, {5, 5}, {1, 1}}, causal});
}

TEST_CASE("attention: lengths of sequences, empty ones among them") {
  for (bool causal : {false, true}) {
    check_case({3, 32, {{0, 0}, {31, 31}, {32, 32}, {0, 0}, {33, 33}, {130, 130}}, causal});
    check_case({2, 64, {{300, 300}}, causal});
    check_case({1, 16, {{0, 0}}, causal});
  }
}

TEST_CASE("attention: as many keys as there are, not as there are queries") {
  for (bool causal : {false, true}) {
    check_case({2, 32, {{1, 150}, {40, 7}, {3, 0}, {0, 3}, {17, 129}, {2, 1}, {1, 1}}, causal});
    check_case({2, 24, {{65, 64}, {64, 257}, {260, 20}}, causal});
    check_case({3, 64, {{1, 700}, {1, 513}, {2, 600}, {1, 512}, {1, 0}, {3, 40}}, causal});
  }
}

TEST_CASE("attention: dropout of probabilities") {
  for (bool causal : {false, true}) {
    check_case({2, 32, {{50, 50}, {7, 7}, {140, 140}}, causal, 0.2f});
    check_case({3, 40, {{1, 150}, {1, 601}, {40, 7}, {3, 0}, {2, 30}}, causal, 0.5f});
  }
}

TEST_CASE("attention: large logits do not overflow") {
  for (double size : {30.0, 1000.0}) {  // logits of 100 and of thousands
    check_case({2, 32, {{40, 40}, {150, 150}}, true, 0, size});
    check_case({2, 64, {{20, 20}, {170, 170}}, false, 0, size});
  }
}

TEST_CASE("attention: relative tables") {
  for (int width : {1, 5, 32, 40, 64, 96, 128}) check_case({2, width, {{35, 35}, {5, 5}}, width > 32, 0, 1, 17});
  for (bool causal : {false, true}) {
    for (bool shared : {false, true}) {
      check_case({2, 16, {{37, 37}, {5, 5}, {1, 1}, {0, 0}}, causal, 0, 1, 3, shared});
      check_case({3, 20, {{50, 50}, {33, 33}}, causal, 0.2f, 1, 64, shared});
    }
    check_case({2, 32, {{1, 150}, {40, 7}, {3, 0}, {0, 3}, {17, 129}, {2, 1}, {1, 1}}, causal, 0, 1, 20});
    check_case({2, 24, {{1, 90}, {2, 40}, {1, 7}, {1, 0}}, causal, 0.5f, 1, 16});
    check_case({1, 16, {{300, 300}, {130, 130}}, causal, 0.1f, 1, 40});
    check_case({2, 32, {{40, 40}}, causal, 0, 1000, 8});
  }
}

TEST_CASE("attention: the same bits at any number of threads") {
  on_every_backend([&](Bench& bench) {
    for (const Case& of : {Case{4, 32, {{37, 37}, {150, 150}, {20, 20}, {80, 80}}, true, 0.1f},
                           Case{4, 32, {{37, 37}, {150, 150}, {20, 20}, {80, 80}}, false, 0.1f, 1, 30},
                           Case{2, 64, {{600, 600}}, true}, Case{3, 64, {{1, 1500}, {1, 300}, {2, 40}}, true}}) {
      Problem problem(bench, of);
      check_same_at_any_thread_count([&] {
        std::vector<double> all = problem.results();
        for (double& x : all) x = std::isnan(x) ? 12345 : x;
        return all;
      });
    }
  });
}

TEST_CASE("attention: decoding against a cache gives what the whole sequence gave") {
  on_every_backend([&](Bench& bench) {
    const int length = 45, slot = 60, heads = 2, width = heads * 32;
    const Tensor fused = bench.normal(bench.compute, {2 * length, 3 * width});
    const Tensor whole = bench.unset(bench.compute, {2 * length, width});
    const Segments segments = Segments::packed(bench.integers({3}, {0, length, 2 * length}), length);
    AttentionForwardArgs args{.q = {fused, 0, width},
                              .k = {fused, width, width},
                              .v = {fused, 2 * width, width},
                              .heads = heads,
                              .queries = segments,
                              .keys = segments,
                              .causal = true,
                              .scale = 0.2f,
                              .y = whole};
    bench.ops.attention_forward(args);
    // A cache of two slots, and a step that decodes one token of each sequence at unequal positions.
    std::vector<double> from = bench.values(fused), cache(static_cast<size_t>(2 * slot * 3 * width), NAN);
    for (int s = 0; s < 2; ++s)
      std::copy_n(from.begin() + s * length * 3 * width, length * 3 * width, cache.begin() + s * slot * 3 * width);
    const Tensor slots = bench.from(bench.compute, {2 * slot, 3 * width}, cache);
    for (const std::vector<int>& at : {std::vector{0, 7}, std::vector{44, 20}, std::vector{31, 32}}) {
      std::vector<double> query, expected;
      const std::vector<double> y = bench.values(whole);
      for (int s = 0; s < 2; ++s) {
        const int row = s * length + at[static_cast<size_t>(s)];
        query.insert(query.end(), from.begin() + row * 3 * width, from.begin() + row * 3 * width + width);
        expected.insert(expected.end(), y.begin() + row * width, y.begin() + (row + 1) * width);
      }
      args.q = bench.from(bench.compute, {2, width}, query);
      args.k = {slots, width, width}, args.v = {slots, 2 * width, width};
      args.queries = Segments::packed(bench.integers({3}, {0, 1, 2}), 1);
      args.keys = {bench.integers({2}, {0, slot}), bench.integers({2}, {at[0] + 1, slot + at[1] + 1}), slot};
      args.y = bench.unset(bench.compute, {2, width});
      bench.ops.attention_forward(args);
      CHECK_CLOSE(bench.values(args.y), expected, bench.compute == DType::bf16 ? 4 * epsilon_of(DType::bf16) : 1e-6);
    }
  });
}

TEST_CASE("attention: arguments that do not fit are named") {
  on_every_backend([&](Bench& bench) {
    Problem problem(bench, {2, 16, {{5, 5}}, true});
    AttentionForwardArgs args = problem.forward;
    args.heads = 3;
    CHECK_THROWS_WITH_AS(bench.ops.attention_forward(args), "attention_forward: q has 32 columns for 3 heads", Error);
    args = problem.forward;
    args.keys = Segments::packed(bench.integers({2}, {0, 6}), 6);
    std::string found;
    try {
      bench.ops.attention_forward(args);
      bench.finish();
    } catch (const Error& error) {
      found = error.what();
    }
    CAPTURE(found);  // where a device holds the segments, it is the device that finds this
    CHECK((found == "attention_forward: keys: sequence 0 has the rows 0 to 6 of 5" ||
           found == "attention: the last row of segment[0] is 5, not in 0 ... 4"));
    AttentionBackwardArgs gradient = problem.backward;
    gradient.lse = {};
    CHECK_THROWS_AS(bench.ops.attention_backward(gradient), Error);
    args = problem.forward;
    args.relative = {4, bench.zeros({9, 16}), bench.zeros({5, 16})};
    CHECK_THROWS_WITH_AS(bench.ops.attention_forward(args),
                         "attention_forward: relative.keys is [9, 16], not [5, 16]", Error);
    args.relative.keys = args.relative.values;
    args.relative.distances = -1;
    CHECK_THROWS_WITH_AS(bench.ops.attention_forward(args), doctest::Contains("-1 distances"), Error);
    gradient = problem.backward;
    gradient.relative = {4, bench.zeros({5, 16}), bench.zeros({5, 16})};
    CHECK_THROWS_WITH_AS(bench.ops.attention_backward(gradient), doctest::Contains("drelative_keys is missing"), Error);
  });
}

}  // namespace engine::test
