// Forward attention where sequences have a query or a few, which is decoding. A head's few queries share its keys and
// nothing else is used twice, so keys and values should stream through once, whole rows of all heads at a time. Long
// key segments are divided into ranges, whose results are merged in their order.
#include "kernels/attention/cpu/decode.h"

#include "core/parallel.h"
#include "kernels/attention/cpu/tile.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t range_keys = 64;

// The layout of one query's results over one range of keys: each head's highest score (in units of log 2), the sum of
// 2^(score - highest), and the values weighed by these. A row of `parts` is [heads][padded_width] values, then [heads]
// highest, then [heads] sums.
struct Layout {
  int64_t heads, width, padded_width;

  int64_t size() const { return rounded_up(heads * (padded_width + 2), 16); }
  float* values(float* part, int64_t head) const { return part + head * padded_width; }
  float& highest(float* part, int64_t head) const { return part[heads * padded_width + head]; }
  float& sum(float* part, int64_t head) const { return part[heads * (padded_width + 1) + head]; }
};

// Returns the sum of each vector's lanes, vector i's in lane i. Halves of the rows are dealt out in turn and added.
ENGINE_INLINE vfloat sums_of_lanes(vfloat (&rows)[lanes]) {
  vint lower, upper;
  for (int i = 0; i < lanes; ++i) {
    lower[i] = i / 2 + i % 2 * lanes;
    upper[i] = lower[i] + lanes / 2;
  }
#pragma GCC unroll 4
  for (int half = lanes / 2; half; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i)
      rows[i] = __builtin_shuffle(rows[i], rows[i + half], lower) + __builtin_shuffle(rows[i], rows[i + half], upper);
  return rows[0];
}

// Returns the products of q with `count` <= lanes rows of keys. The lanes behind them hold anything. A head of whole
// vectors has their number as a constant, others 0.
template <int vectors, class Count, class T>
ENGINE_INLINE vfloat dots(const float* q, const T* keys, int64_t stride, Count count, int64_t width) {
  vfloat sums[lanes];
  const T* key = keys;
#pragma GCC unroll 16
  for (int64_t j = 0; j < lanes; ++j, key += j < count ? stride : 0) {
    sums[j] = vfloat{};
    if constexpr (vectors > 0) {
#pragma GCC unroll 8
      for (int i = 0; i < vectors; ++i) sums[j] += load(q + i * lanes) * load(key + i * lanes);
    } else {
      each_vector(width, [&](int64_t d, auto n) { sums[j] += load(q + d) * load(key + d, n); });
    }
  }
  return sums_of_lanes(sums);
}

// Adds to y p[j] values[j] for `count` rows of values.
template <int vectors, class T>
ENGINE_INLINE void add_values(const float* p, const T* values, int64_t stride, int64_t count, int64_t width, float* y) {
  if constexpr (vectors > 0) {
    vfloat sums[vectors];
    for (int i = 0; i < vectors; ++i) sums[i] = load(y + i * lanes);
    for (int64_t j = 0; j < count; ++j)
#pragma GCC unroll 8
      for (int i = 0; i < vectors; ++i) sums[i] += p[j] * load(values + j * stride + i * lanes);
    for (int i = 0; i < vectors; ++i) store(y + i * lanes, sums[i]);
  } else {
    for (int64_t j = 0; j < count; ++j)
      each_vector(width,
                  [&](int64_t d, auto n) { store(y + d, load(y + d) + p[j] * load(values + j * stride + d, n)); });
  }
}

// Turns scores (in units of log 2) into 2^(score - highest), with dropout, and the lanes behind `count` into 0.
void softmax_range(float* scores, int64_t count, const Dropout& dropout, int64_t first_element, float& highest,
                   float& sum) {
  const vfloat hidden = splat(-std::numeric_limits<float>::infinity());
  vfloat top = hidden, total{};
  each_vector(count, [&](int64_t j, auto n) { top = maximum(only(load(scores + j), n, hidden), top); });
  highest = largest(top);
  DropoutFactors factors(dropout);
  each_vector(count, [&](int64_t j, auto n) {
    vfloat p = only(exp2(load(scores + j) - highest), n);
    total += p;
    if (dropout.rate > 0) p *= factors.at(first_element + j);
    store(scores + j, p);
  });
  sum = engine::ENGINE_ISA::sum(total);
}

// Takes query `query` of a sequence over the keys begin ... end - 1. q and scores are scratch, [heads][padded_width]
// and [heads][range_keys].
template <int vectors>
void attend_range(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t query, int64_t begin, int64_t end,
                  const Layout& layout, float* q, float* scores, float* part) {
  const auto [heads, width, padded_width] = layout;
  const int64_t row = span.query_begin + query;
  const float scale = a.scale * scores_to_log2;
  for (int64_t h = 0; h < heads; ++h) {
    read_rows(a.q, row, h, width, 1, q + h * padded_width, 1, padded_width);
    for (int64_t d = 0; d < padded_width; d += lanes)
      store(q + h * padded_width + d, load(q + h * padded_width + d) * scale);
  }
  with_head(a.k, span.key_begin + begin, 0, width, [&](auto* keys, int64_t stride) {
    const auto score = [&](int64_t j, auto count) {
      for (int64_t h = 0; h < heads; ++h)
        store(scores + h * range_keys + j,
              dots<vectors>(q + h * padded_width, keys + j * stride + h * width, stride, count, width));
    };
    const int64_t whole = (end - begin) / lanes * lanes;
    for (int64_t j = 0; j < whole; j += lanes) score(j, std::integral_constant<int64_t, lanes>{});
    if (whole < end - begin) score(whole, end - begin - whole);
  });
  for (int64_t h = 0; h < heads; ++h)
    softmax_range(scores + h * range_keys, end - begin, a.dropout,
                  (((a.dropout.first_row + row) * heads + h) << 16) + begin, layout.highest(part, h),
                  layout.sum(part, h));
  std::fill_n(part, heads * padded_width, 0.0f);
  with_head(a.v, span.key_begin + begin, 0, width, [&](auto* values, int64_t stride) {
    for (int64_t j = 0; j < end - begin; j += lanes)
      for (int64_t h = 0; h < heads; ++h)
        add_values<vectors>(scores + h * range_keys + j, values + j * stride + h * width, stride,
                            std::min<int64_t>(lanes, end - begin - j), width, layout.values(part, h));
  });
}

// Merges the parts of a query's ranges into its row.
void merge_ranges(const AttentionForwardArgs& a, int64_t row, int64_t ranges, const Layout& layout, float* parts) {
  for (int64_t h = 0; h < layout.heads; ++h) {
    float highest = -std::numeric_limits<float>::infinity(), sum = 0;
    for (int64_t r = 0; r < ranges; ++r) {
      const float part = layout.highest(parts + r * layout.size(), h);
      highest = part > highest || part != part ? part : highest;
    }
    float y[128] = {};
    for (int64_t r = 0; r < ranges; ++r) {
      float* part = parts + r * layout.size();
      const float factor = std::exp2(layout.highest(part, h) - highest);
      sum += factor * layout.sum(part, h);
      for (int64_t d = 0; d < layout.padded_width; d += lanes)
        store(y + d, load(y + d) + factor * load(layout.values(part, h) + d));
    }
    if (ranges)
      for (int64_t d = 0; d < layout.padded_width; d += lanes) store(y + d, load(y + d) * (1.0f / sum));
    write_rows(a.y, row, h, layout.width, 1, y, layout.padded_width);
    if (a.lse) a.lse.as<float>()[row * layout.heads + h] = ranges ? highest * log2_to_scores + std::log(sum) : highest;
  }
}

using AttendRange = void (*)(const AttentionForwardArgs&, const AttentionSpan&, int64_t, int64_t, int64_t,
                             const Layout&, float*, float*, float*);
AttendRange attend_range_of(int64_t width) {
  switch (width % lanes ? 0 : width / lanes) {
    case 1: return attend_range<1>;
    case 2: return attend_range<2>;
    case 4: return attend_range<4>;
    case 6: return attend_range<6>;
    case 8: return attend_range<8>;
    default: return attend_range<0>;
  }
}

}  // namespace

void attention_decode(const AttentionForwardArgs& a, int64_t width, Arena& workspace) {
  const Layout layout{a.heads, width, rounded_up(width, lanes)};
  const int64_t queries = longest_segment(a.queries), longest = longest_segment(a.keys);
  const int64_t ranges = ceil_div(longest, range_keys), rows = a.queries.count() * queries;
  const ArenaScope scope(workspace);
  const int64_t scratch_size = rounded_up(a.heads * (layout.padded_width + range_keys), 16);
  float* scratch = workspace.make(DType::f32, {thread_count(), scratch_size}).as<float>();
  float* parts = workspace.make(DType::f32, {rows * ranges, layout.size()}).as<float>();
  const AttendRange attend = attend_range_of(width);
  const auto attend_task = [&](int64_t task) {
    const int64_t query = task / ranges % queries, begin = task % ranges * range_keys;
    const AttentionSpan span = span_of(a.queries, a.keys, task / ranges / queries);
    const int64_t end = query < span.queries ? std::min(begin + range_keys, span.visible(query, a.causal)) : 0;
    if (begin >= end) return;
    float* q = scratch + thread_index() * scratch_size;
    attend(a, span, query, begin, end, layout, q, q + a.heads * layout.padded_width, parts + task * layout.size());
  };
  const auto merge_task = [&](int64_t task) {
    const AttentionSpan span = span_of(a.queries, a.keys, task / queries);
    const int64_t query = task % queries;
    if (query >= span.queries) return;
    merge_ranges(a, span.query_begin + query, ceil_div(span.visible(query, a.causal), range_keys), layout,
                 parts + task * ranges * layout.size());
  };
  constexpr int64_t worth_threads = 1 << 16;  // elements of keys; fewer are done before threads wake up
  if (rows * longest * a.q.width < worth_threads) {
    for (int64_t task = 0; task < rows * ranges; ++task) attend_task(task);
    for (int64_t task = 0; task < rows; ++task) merge_task(task);
  } else {
    parallel_for(rows * ranges, attend_task);
    parallel_for(rows, merge_task);
  }
}

}  // namespace engine::ENGINE_ISA
