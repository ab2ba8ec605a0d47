// The CPU's attention kernels share these parts. A block of queries lies across the lanes of vectors. Scores are kept
// transposed, [keys][query_block], so that maximum, sum and mask of a softmax are vector operations between rows and
// nothing is ever reduced across lanes.
#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"
#include "kernels/attention/attention.h"
#include "kernels/checks.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/fetch_ahead.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/vector_loop.h"
#include "kernels/sizes.h"

namespace engine::ENGINE_ISA {

inline constexpr int64_t block_vectors = 2;
inline constexpr int64_t query_block = block_vectors * lanes;
inline constexpr int64_t key_tile = 128;  // a tile's scores are 16 KiB with 16 lanes

// Scores are kept in units of log 2, so that e^score is one power of two. This factor scales them.
inline constexpr float scores_to_log2 = 1.44269504f, log2_to_scores = 0.69314718f;

// Calls body(first, stride) for the head's columns of some rows: element (r, d) is first[r * stride + d].
template <class Body>
void with_head(const Columns& columns, int64_t row, int64_t head, int64_t width, const Body& body) {
  with_elements(columns.matrix, [&](auto* data) {
    const int64_t stride = columns.matrix.cols();
    body(data + row * stride + columns.begin + head * width, stride);
  });
}

// Writes to [padded_rows][padded_width] = the head's columns of `rows` rows, with zeros behind them. T is float, or
// bf16 (bf16_tile.h).
template <class T>
void read_rows(const Columns& columns, int64_t row, int64_t head, int64_t width, int64_t rows, T* to,
               int64_t padded_rows, int64_t padded_width) {
  with_head(columns, row, head, width, [&](auto* from, int64_t stride) {
    for (int64_t r = 0; r < rows; ++r) {
      float* at = to + r * padded_width;
      each_vector(width, [&](int64_t d, auto n) { store(at + d, load(from + r * stride + d, n)); });
      for (int64_t d = rounded_up(width, lanes); d < padded_width; ++d) at[d] = 0;
    }
  });
  std::fill(to + rows * padded_width, to + padded_rows * padded_width, 0.0f);
}

// Writes the head's columns of `rows` rows = factor from [rows][padded_width], or += where it adds.
template <bool adds = false>
void write_rows(const Columns& columns, int64_t row, int64_t head, int64_t width, int64_t rows, const float* from,
                int64_t padded_width, float factor = 1) {
  with_head(columns, row, head, width, [&](auto* to, int64_t stride) {
    for (int64_t r = 0; r < rows; ++r)
      each_vector(width, [&](int64_t d, auto n) {
        vfloat result = load(from + r * padded_width + d) * factor;
        if constexpr (adds) result += load(to + r * stride + d, n);
        store(to + r * stride + d, result, n);
      });
  });
}

// Fetches `width` columns from `column` on of the rows first ... last-1 from `row` on. A head's part of a row is one or
// two cache lines, and its rows lie far apart.
template <int cache>
void add_rows(FetchAhead<cache>& ahead, const Columns& columns, int64_t row, int64_t column, int64_t width,
              int64_t first, int64_t last) {
  const int64_t element = static_cast<int64_t>(size_of(columns.matrix.dtype));
  const int64_t stride = columns.matrix.cols() * element;
  ahead.add(static_cast<const char*>(columns.matrix.data) + (row + first) * stride + (columns.begin + column) * element,
            stride, width * element, last - first);
}

// Keys of a sequence and head, first ... first + count - 1, that lie from row `row` on in a thread's memory.
struct KeyTile {
  int64_t first, count, row;
};

// Blocks of queries, of one or several heads, that go over the keys side by side.
inline constexpr int64_t most_states = 8;

// Tells whether a sequence's queries are few beside its keys, as in a piece of a text over a cache of what stands
// before it. Then it takes time to bring the keys from memory, and they are read once, tile by tile, for all heads.
inline bool are_few(int64_t queries, int64_t keys) {
  return 0 < queries && queries <= most_states / 2 * query_block && 2 * queries <= keys;
}
inline constexpr int64_t few_keys = 32;  // of a tile then

// Returns how many heads of a sequence make a task: several of short sequences, so that a head's rows can be fetched
// while the head before is computed. Where the queries are few it is all, unless threads would have nothing to do.
inline int64_t heads_a_task(const Segments& queries, const Segments& keys, int64_t heads) {
  constexpr int64_t scores_a_task = 1 << 16, tasks_wanted = 64, tasks_a_thread = 8;
  if (are_few(longest_segment(queries), longest_segment(keys)))
    return ceil_div(heads, std::clamp<int64_t>(tasks_a_thread * thread_count() / queries.count(), 1, heads));
  const int64_t scores = std::max<int64_t>(longest_segment(queries) * longest_segment(keys), 1);
  const int64_t by_tasks = queries.count() * heads / tasks_wanted;
  return std::clamp<int64_t>(std::min(scores_a_task / scores, by_tasks), 1, heads);
}

// A vector of queries. It has the number of keys that each sees, and the dropout's block of its first key (its other
// keys only add to the lower word, for a query's elements begin at a multiple of 65536).
struct QueryLanes {
  vint visible;
  vuint block_low, block_high;
};

// Returns the queries first ... first + lanes - 1 of a segment. Those past its end see all keys, for their rows are
// zeros and a mask would only cost time.
inline QueryLanes query_lanes(const AttentionSpan& span, int64_t first, bool causal, const Dropout& dropout,
                              int64_t heads, int64_t head) {
  QueryLanes result{};
  const vint query = lane_numbers() + static_cast<int32_t>(first), keys = vint{} + static_cast<int32_t>(span.keys);
  const vint before = query + static_cast<int32_t>(1 + span.keys - span.queries);  // as AttentionSpan::visible
  result.visible = keys;
  if (causal) result.visible = query < static_cast<int32_t>(span.queries) ? (before > 0 ? before : vint{}) : keys;
  for (int i = 0; i < lanes && dropout.rate > 0; ++i) {
    const uint64_t row = static_cast<uint64_t>(dropout.first_row + span.query_begin + first + i);
    const uint64_t block = (row * static_cast<uint64_t>(heads) + static_cast<uint64_t>(head)) << 14;
    result.block_low[i] = static_cast<uint32_t>(block);
    result.block_high[i] = static_cast<uint32_t>(block >> 32);
  }
  return result;
}

// A block of queries of a segment.
struct QueryBlock {
  QueryLanes part[block_vectors];
  int64_t first, count;             // queries of the segment
  int64_t visible_to_all, visible;  // keys that its first query sees, its last one
  int vectors;                      // vectors that hold queries

  QueryBlock(const AttentionSpan& span, int64_t begin, bool causal, const Dropout& dropout, int64_t heads, int64_t head)
      : first(begin),
        count(std::min(query_block, span.queries - begin)),
        visible_to_all(span.visible(begin, causal)),
        visible(span.visible(begin + count - 1, causal)),
        vectors(static_cast<int>(ceil_div(count, lanes))) {
    for (int v = 0; v < vectors; ++v) part[v] = query_lanes(span, begin + v * lanes, causal, dropout, heads, head);
  }
};

// Calls body(j, masked) for j = 0, 4, ... < rows, the keys of a tile that begins at first_key. masked (a constant) is
// true where not every query of the block sees all of keys j ... j + 3.
template <class Body>
ENGINE_INLINE void each_four_keys(const QueryBlock& block, int64_t first_key, int64_t rows, const Body& body) {
  const int64_t plain = std::clamp(block.visible_to_all - first_key, int64_t{0}, rows) & ~int64_t{3};
  for (int64_t j = 0; j < plain; j += 4) body(j, std::false_type{});
  for (int64_t j = plain; j < rows; j += 4) body(j, std::true_type{});
}

// Returns s where the query sees the key, else `hidden`.
template <class Masked>
ENGINE_INLINE vfloat seen(Masked, vfloat s, int64_t key, const QueryLanes& queries, vfloat hidden) {
  if constexpr (Masked::value) return vint{} + static_cast<int32_t>(key) < queries.visible ? s : hidden;
  else return s;
}

// The dropout of a block's probabilities of keys key ... key + 3: factor[w] is key + w's.
struct DropoutTile {
  const Dropout& dropout;
  uint32_t threshold = dropout.threshold();
  float scale = dropout.scale();

  ENGINE_INLINE void factors(const QueryLanes& queries, int64_t key, vfloat (&factor)[4]) const {
    const RandomWords words =
        random_words(dropout, queries.block_low + static_cast<uint32_t>(key / 4), queries.block_high);
    for (int w = 0; w < 4; ++w) factor[w] = dropout_factor(words.word[w], threshold, scale);
  }
};

// A query's maximum (in units of log 2) and sum over the keys so far.
struct RunningSoftmax {
  vfloat highest = splat(-std::numeric_limits<float>::infinity()), total{};
};

// Takes one step of the online softmax, for vector v of the block over `rows` keys (a multiple of 4) from first_key,
// whose scores are [rows][query_block]. write(j, p) gets the probabilities of keys j ... j + 3 relative to the maximum
// so far, with dropout applied. Returns the factor of earlier sums.
template <bool drops, class Write>
ENGINE_INLINE vfloat softmax_step(const float* scores, int64_t rows, int64_t first_key, float scale,
                                  const QueryBlock& block, int v, const DropoutTile& dropout, RunningSoftmax& running,
                                  const Write& write) {
  const vfloat hidden = splat(-std::numeric_limits<float>::infinity());
  const QueryLanes& queries = block.part[v];
  scale *= scores_to_log2;
  const float* column = scores + v * lanes;
  vfloat top[4] = {running.highest, running.highest, running.highest, running.highest};
  each_four_keys(
      block, first_key, rows, [&](int64_t j, auto masked) __attribute__((always_inline)) {
        for (int w = 0; w < 4; ++w)
          top[w] = maximum(
              seen(masked, load(column + (j + w) * query_block) * scale, first_key + j + w, queries, hidden), top[w]);
      });
  const vfloat highest = maximum(maximum(top[0], top[1]), maximum(top[2], top[3]));
  const vfloat shift = highest > hidden ? highest : vfloat{};  // any shift serves before a key is seen
  const vfloat correction = running.highest > hidden ? exp2(running.highest - shift) : vfloat{};
  vfloat sums[4] = {};
  each_four_keys(
      block, first_key, rows, [&](int64_t j, auto masked) __attribute__((always_inline)) {
        vfloat p[4];
        for (int w = 0; w < 4; ++w) {
          p[w] = exp2(load(column + (j + w) * query_block) * scale - shift);
          p[w] = seen(masked, p[w], first_key + j + w, queries, vfloat{});
          sums[w] += p[w];
        }
        if constexpr (drops) {
          vfloat factor[4];
          dropout.factors(queries, first_key + j, factor);
          for (int w = 0; w < 4; ++w) p[w] *= factor[w];
        }
        write(j, p);
      });
  running.total = running.total * correction + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
  running.highest = highest;
  return correction;
}

// Takes the gradient of the scaled scores of vector v of the block over `rows` keys (a multiple of 4) from first_key:
//   p = exp(scale s - lse),  ds = p (dp factor - delta)
// write(j, p, ds) gets keys j ... j + 3, p with dropout applied.
template <bool drops, class Write>
ENGINE_INLINE void softmax_gradient(const float* scores, const float* dp, int64_t rows, int64_t first_key, float scale,
                                    const QueryBlock& block, int v, const DropoutTile& dropout, vfloat lse,
                                    vfloat delta, const Write& write) {
  const QueryLanes& queries = block.part[v];
  // A query that sees nothing has lse = -infinity, and all its keys are masked.
  const vfloat shift = lse == -std::numeric_limits<float>::infinity() ? vfloat{} : lse * scores_to_log2;
  scale *= scores_to_log2;
  each_four_keys(
      block, first_key, rows, [&](int64_t j, auto masked) __attribute__((always_inline)) {
        vfloat p[4], ds[4], factor[4];
        if constexpr (drops) dropout.factors(queries, first_key + j, factor);
        for (int w = 0; w < 4; ++w) {
          const int64_t at = (j + w) * query_block + v * lanes;
          p[w] = exp2(load(scores + at) * scale - shift);
          p[w] = seen(masked, p[w], first_key + j + w, queries, vfloat{});
          vfloat gradient = load(dp + at);
          if constexpr (drops) gradient *= factor[w];
          ds[w] = p[w] * (gradient - delta);
          if constexpr (drops) p[w] *= factor[w];
        }
        write(j, p, ds);
      });
}

// Returns the reciprocal sum of each query, and writes their log-sum-exps to lse (f32, one a query, `stride` apart).
inline vfloat finish_softmax(const RunningSoftmax& running, float* lse, int64_t stride, int64_t count) {
  const auto none = running.total == 0;
  if (lse) {
    const vfloat hidden = splat(-std::numeric_limits<float>::infinity());
    float values[lanes];
    store(values, none ? hidden : (running.highest + log2(running.total)) * log2_to_scores);
    for (int i = 0; i < std::min<int64_t>(count, lanes); ++i) lse[i * stride] = values[i];
  }
  return none ? vfloat{} : 1.0f / running.total;
}

// Writes delta[i] = dot(dy_i, y_i) of `rows` rows, a multiple of the lanes, [rows][padded_width].
inline void row_dots(const float* dy, const float* y, int64_t rows, int64_t padded_width, float* delta) {
  float sums[lanes * lanes], across[lanes * lanes];
  for (int64_t first = 0; first < rows; first += lanes) {
    for (int64_t i = 0; i < lanes; ++i) {
      vfloat sum{};
      for (int64_t d = 0; d < padded_width; d += lanes)
        sum += load(dy + (first + i) * padded_width + d) * load(y + (first + i) * padded_width + d);
      store(sums + i * lanes, sum);
    }
    transpose(sums, lanes, across, lanes);
    vfloat total{};
    for (int i = 0; i < lanes; ++i) total += load(across + i * lanes);
    store(delta + first, total);
  }
}

}  // namespace engine::ENGINE_ISA
