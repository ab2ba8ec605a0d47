// Attention with relative tables. Scores lie as they are read, [queries][keys]. The rows of a table that a query needs
// for successive keys are successive too, so vectors add the tables' terms, and sum by distance. A block of queries
// holds its scores with all keys.
#include "kernels/attention/cpu/relative.h"

#include "kernels/attention/cpu/driver.h"
#include "kernels/attention/cpu/product.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t unit = 16;  // pads sizes to whole vectors and to product()'s rows

// The two tables [padded rows][padded width] with zeros behind them, and both across, [padded width][padded rows].
struct Tables {
  int64_t distances, rows, padded_rows;
  float *keys, *values, *keys_across, *values_across;

  Tables(Arena& workspace, const RelativeTables& tables, int64_t width)
      : distances(tables.distances), rows(tables.keys.rows()), padded_rows(rounded_up(rows, unit)) {
    const auto read = [&](const Tensor& table, float*& lying, float*& across) {
      const int64_t padded_width = rounded_up(width, unit);
      lying = workspace.make(DType::f32, {padded_rows, padded_width}).as<float>();
      across = workspace.make(DType::f32, {padded_width, padded_rows}).as<float>();
      read_rows(table, 0, 0, width, rows, lying, padded_rows, padded_width);
      transpose_matrix(lying, padded_rows, padded_width, across, padded_width, padded_rows);
    };
    read(tables.keys, keys, keys_across);
    read(tables.values, values, values_across);
  }
};

// The rows of a table for one query's keys: keys begin ... end - 1 have the rows from first_row on, those before them
// the first row, those behind them the last.
struct Distances {
  int64_t visible, begin, end, first_row, last_row;

  Distances(const AttentionSpan& span, int64_t query, bool causal, int64_t distances)
      : visible(span.visible(query, causal)),
        begin(std::clamp(span.place(query) - distances, int64_t{0}, visible)),
        end(std::clamp(span.place(query) + distances + 1, begin, visible)),
        first_row(relative_row(distances, span.place(query), begin)),
        last_row(2 * distances) {}

  // Adds to scores[j] by_row[the row of key j].
  void add(const float* by_row, float* scores) const {
    each_vector(begin, [&](int64_t j, auto n) { store(scores + j, load(scores + j, n) + by_row[0], n); });
    const float* const near = by_row + first_row;
    each_vector(end - begin, [&](int64_t j, auto n) {
      store(scores + begin + j, load(scores + begin + j, n) + load(near + j, n), n);
    });
    each_vector(visible - end,
                [&](int64_t j, auto n) { store(scores + end + j, load(scores + end + j, n) + by_row[last_row], n); });
  }
  // Writes by_row[r] = the sum of weights[j] over the keys j of row r.
  void sum(const float* weights, float* by_row, int64_t rows) const {
    std::fill_n(by_row, rows, 0.0f);
    std::copy_n(weights + begin, end - begin, by_row + first_row);
    if (begin) by_row[0] += sum_over(begin, [&](int64_t j, auto n) { return load(weights + j, n); });
    if (end < visible)
      by_row[last_row] += sum_over(visible - end, [&](int64_t j, auto n) { return load(weights + end + j, n); });
  }
};

// Returns the dropout's element of a query's first key.
int64_t first_element(const Dropout& dropout, int64_t row, int64_t heads, int64_t head) {
  return ((dropout.first_row + row) * heads + head) << 16;
}

// Turns scores of the visible keys into weights, with dropout, and those behind them, up to `padded`, into 0. Returns
// their log-sum-exp.
template <bool drops>
float softmax_row(float* scores, int64_t visible, int64_t padded, float scale, const Dropout& dropout,
                  int64_t first_dropped) {
  scale *= scores_to_log2;
  const vfloat hidden = splat(-std::numeric_limits<float>::infinity());
  vfloat top = hidden, total{};
  each_vector(visible, [&](int64_t j, auto n) { top = maximum(only(load(scores + j, n) * scale, n, hidden), top); });
  const float highest = largest(top);
  each_vector(visible, [&](int64_t j, auto n) {
    const vfloat p = only(exp2(load(scores + j, n) * scale - highest), n);
    total += p;
    store(scores + j, p, n);
  });
  std::fill(scores + visible, scores + padded, 0.0f);
  const float sum = engine::ENGINE_ISA::sum(total);
  if (visible == 0) return -std::numeric_limits<float>::infinity();
  DropoutFactors factors(dropout);
  each_vector(visible, [&](int64_t j, auto n) {
    vfloat p = load(scores + j, n) * (1 / sum);
    if constexpr (drops) p *= factors.at(first_dropped + j);
    store(scores + j, p, n);
  });
  return highest * log2_to_scores + std::log(sum);
}

// The rows and keys that the products of a block of queries take.
struct BlockSizes {
  int64_t row, rows, keys;

  BlockSizes(const AttentionSpan& span, const QueryBlock& block)
      : row(span.query_begin + block.first), rows(rounded_up(block.count, 8)), keys(rounded_up(block.visible, unit)) {}
};

constexpr auto nothing = [] {};

// A thread's memory.
struct RelativeForward {
  static constexpr int64_t row_padding = unit, width_padding = unit;
  struct Registers {};
  static int64_t fetches(int64_t, int) { return 1; }

  const Tables* tables;
  int64_t padded_keys, padded_width;
  float *keys_across, *values;   // [padded width][padded keys], [padded keys][padded width]
  float *q, *y;                  // [query_block][padded width]
  float *scores, *by_row;        // [query_block][padded keys], [query_block][padded table rows]

  RelativeForward(ThreadMemory& of, int64_t longest, int64_t padded_width_, const Tables* tables_)
      : tables(tables_), padded_keys(rounded_up(longest, unit)), padded_width(padded_width_) {
    for (float** part : {&keys_across, &values}) *part = of.take<float>(padded_keys * padded_width);
    for (float** part : {&q, &y}) *part = of.take<float>(query_block * padded_width);
    scores = of.take<float>(query_block * padded_keys);
    by_row = of.take<float>(query_block * tables->padded_rows);
  }
  // Writes the head's columns of `rows` rows across, to [padded width][padded keys], by way of [padded rows][padded
  // width].
  void read_across(const Columns& from, int64_t row, int64_t head, int64_t width, int64_t rows, float* lying,
                   float* to) const {
    const int64_t padded_rows = rounded_up(rows, unit);
    read_rows(from, row, head, width, rows, lying, padded_rows, padded_width);
    transpose_matrix(lying, padded_rows, padded_width, to, padded_width, padded_keys);
  }
  // Writes to [rows][keys] = from [rows][width] keys^T, and by_row the same of a table.
  void score(const float* from, int64_t width, const BlockSizes& sizes, const float* keys, const float* table,
             float* to, float* to_by_row) const {
    product<false>({from, padded_width, 1}, keys, padded_keys, to, padded_keys, sizes.rows, sizes.keys, width,
                   nothing);
    product<false>({from, padded_width, 1}, table, tables->padded_rows, to_by_row, tables->padded_rows, sizes.rows,
                   tables->padded_rows, width, nothing);
  }
  // Writes to [rows][width] = weights [rows][visible] right + weights by row of a table times its rows.
  void mix(const float* weights, const float* weights_by_row, const float* right, const float* table, int64_t rows,
           int64_t visible, float* to) const {
    product<false>({weights, padded_keys, 1}, right, padded_width, to, padded_width, rows, padded_width, visible,
                   nothing);
    product<true>({weights_by_row, tables->padded_rows, 1}, table, padded_width, to, padded_width, rows, padded_width,
                  tables->rows, nothing);
  }
};

struct RelativeBackward : RelativeForward {
  float *keys, *values_across, *dkeys, *dvalues;  // as in forward, [padded keys][padded width]
  float *dy, *dq;                                 // [query_block][padded width]
  float *dp, *dp_by_row;                          // as scores and by_row
  float *dtable_keys = nullptr, *dtable_values = nullptr;  // a task's, [padded table rows][padded width]

  RelativeBackward(ThreadMemory& of, int64_t longest, int64_t padded_width_, const Tables* tables_)
      : RelativeForward(of, longest, padded_width_, tables_) {
    for (float** part : {&keys, &values_across, &dkeys, &dvalues})
      *part = of.take<float>(padded_keys * padded_width);
    for (float** part : {&dy, &dq}) *part = of.take<float>(query_block * padded_width);
    dp = of.take<float>(query_block * padded_keys);
    dp_by_row = of.take<float>(query_block * tables->padded_rows);
  }
  // Adds to [columns][width] weights^T right, weights [count][columns].
  void add_across(const float* weights, int64_t columns, int64_t stride, const float* right, int64_t count,
                  float* to) const {
    product<true>({weights, 1, stride}, right, padded_width, to, padded_width, columns, padded_width, count, nothing);
  }
};

void read_keys(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width, KeyTile tile,
               const RelativeForward& at) {
  at.read_across(a.k, span.key_begin, head, width, tile.count, /*lying=*/at.values, at.keys_across);
  read_rows(a.v, span.key_begin, head, width, tile.count, at.values, rounded_up(tile.count, unit), at.padded_width);
}

template <bool drops>
void take_block(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const RelativeForward& at, FetchAhead<>&) {
  const BlockSizes sizes(span, block);
  const int64_t table_rows = at.tables->padded_rows;
  read_rows(a.q, sizes.row, head, width, block.count, at.q, sizes.rows, at.padded_width);
  at.score(at.q, width, sizes, at.keys_across, at.tables->keys_across, at.scores, at.by_row);
  for (int64_t i = 0; i < block.count; ++i) {
    const Distances distances(span, block.first + i, a.causal, at.tables->distances);
    float *const scores = at.scores + i * at.padded_keys, *const by_row = at.by_row + i * table_rows;
    distances.add(by_row, scores);
    const float lse = softmax_row<drops>(scores, distances.visible, sizes.keys, a.scale, a.dropout,
                                         first_element(a.dropout, sizes.row + i, a.heads, head));
    if (a.lse) a.lse.as<float>()[(sizes.row + i) * a.heads + head] = lse;
    distances.sum(scores, by_row, table_rows);
  }
  at.mix(at.scores, at.by_row, at.values, at.tables->values, sizes.rows, block.visible, at.y);
  write_rows(a.y, sizes.row, head, width, block.count, at.y, at.padded_width);
}

void read_keys(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width, KeyTile tile,
               const RelativeBackward& at) {
  at.read_across(a.k, span.key_begin, head, width, tile.count, at.keys, at.keys_across);
  at.read_across(a.v, span.key_begin, head, width, tile.count, at.values, at.values_across);
}

// Turns scores into weights with dropout, and dp into the gradient of the scaled scores. Both become 0 behind the
// visible keys.
template <bool drops>
void softmax_gradient_row(float* scores, float* dp, int64_t visible, int64_t padded, float scale, float lse,
                          float delta, const Dropout& dropout, int64_t first_dropped) {
  scale *= scores_to_log2;
  const float shift = visible ? lse * scores_to_log2 : 0;
  DropoutFactors factors(dropout);
  each_vector(visible, [&](int64_t j, auto n) {
    vfloat p = exp2(load(scores + j, n) * scale - shift), gradient = load(dp + j, n);
    vfloat factor = splat(1);
    if constexpr (drops) factor = factors.at(first_dropped + j);
    store(dp + j, p * (gradient * factor - delta), n);
    store(scores + j, p * factor, n);
  });
  for (float* row : {scores, dp}) std::fill(row + visible, row + padded, 0.0f);
}

template <bool drops>
void take_block(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                    const QueryBlock& block, const RelativeBackward& at, FetchAhead<>&) {
  const BlockSizes sizes(span, block);
  const int64_t table_rows = at.tables->padded_rows;
  for (const auto& [from, to] : {std::pair{a.q, at.q}, {Columns(a.dy), at.dy}, {Columns(a.y), at.y}})
    read_rows(from, sizes.row, head, width, block.count, to, sizes.rows, at.padded_width);
  at.score(at.q, width, sizes, at.keys_across, at.tables->keys_across, at.scores, at.by_row);
  at.score(at.dy, width, sizes, at.values_across, at.tables->values_across, at.dp, at.dp_by_row);
  for (int64_t i = 0; i < block.count; ++i) {
    const Distances distances(span, block.first + i, a.causal, at.tables->distances);
    float *const scores = at.scores + i * at.padded_keys, *const dp = at.dp + i * at.padded_keys;
    float *const by_row = at.by_row + i * table_rows, *const dp_by_row = at.dp_by_row + i * table_rows;
    distances.add(by_row, scores);
    distances.add(dp_by_row, dp);
    const float *const dy = at.dy + i * at.padded_width, *const y = at.y + i * at.padded_width;
    const float delta = sum_over(width, [&](int64_t d, auto n) { return load(dy + d, n) * load(y + d, n); });
    softmax_gradient_row<drops>(scores, dp, distances.visible, sizes.keys, a.scale,
                                a.lse.as<float>()[(sizes.row + i) * a.heads + head], delta, a.dropout,
                                first_element(a.dropout, sizes.row + i, a.heads, head));
    distances.sum(scores, by_row, table_rows);
    distances.sum(dp, dp_by_row, table_rows);
  }
  at.add_across(at.scores, sizes.keys, at.padded_keys, at.dy, block.count, at.dvalues);
  at.add_across(at.dp, sizes.keys, at.padded_keys, at.q, block.count, at.dkeys);
  at.add_across(at.by_row, table_rows, table_rows, at.dy, block.count, at.dtable_values);
  at.add_across(at.dp_by_row, table_rows, table_rows, at.q, block.count, at.dtable_keys);
  at.mix(at.dp, at.dp_by_row, at.keys, at.tables->keys, sizes.rows, block.visible, at.dq);
  write_rows(a.dq, sizes.row, head, width, block.count, at.dq, at.padded_width, a.scale);
}

// Adds to the gradient factor times the sum of the tasks' parts, in their order.
void add_parts(const float* parts, int64_t tasks, int64_t size, int64_t rows, int64_t padded_width, float factor,
               const Tensor& gradient) {
  const int64_t width = gradient.cols();
  parallel_for(rows, [&](int64_t r) {
    each_vector(width, [&](int64_t d, auto n) {
      vfloat total{};
      for (int64_t task = 0; task < tasks; ++task) total += load(parts + task * size + r * padded_width + d, n);
      float* const to = gradient.as<float>() + r * width + d;
      store(to, load(to, n) + total * factor, n);
    });
  });
}

}  // namespace

void attention_forward_relative(const AttentionForwardArgs& a, int64_t width, Arena& workspace) {
  const ArenaScope scope(workspace);
  const Tables tables(workspace, a.relative, width);
  drive_forward<RelativeForward>(a, width, workspace, &tables);
}

// A task has some heads of sequences, one after the other, with gradients of the tables of its own.
void attention_backward_relative(const AttentionBackwardArgs& a, int64_t width, Arena& workspace) {
  constexpr int64_t most_tasks = 64;
  const ArenaScope scope(workspace);
  const Tables tables(workspace, a.relative, width);
  const KernelMemory<RelativeBackward, const Tables*> memory(workspace, a.keys, width, &tables);
  const int64_t heads = a.queries.count() * a.heads, heads_a_task = std::max<int64_t>(ceil_div(heads, most_tasks), 1);
  const int64_t tasks = ceil_div(heads, heads_a_task), padded_width = rounded_up(width, unit),
                size = tables.padded_rows * padded_width;
  float* const parts = workspace.make(DType::f32, {tasks, 2 * size}).as<float>();
  parallel_for(tasks, [&](int64_t task) {
    RelativeBackward kernel = memory.of_this_thread();
    kernel.dtable_keys = parts + task * 2 * size;
    kernel.dtable_values = kernel.dtable_keys + size;
    std::fill_n(kernel.dtable_keys, 2 * size, 0.0f);
    for (int64_t i = task * heads_a_task; i < std::min((task + 1) * heads_a_task, heads); ++i)
      backward_head(a, span_of(a.queries, a.keys, i / a.heads), i % a.heads, i % a.heads + 1, width, kernel);
  });
  add_parts(parts, tasks, 2 * size, tables.rows, padded_width, a.scale, a.drelative_keys);
  add_parts(parts + size, tasks, 2 * size, tables.rows, padded_width, 1, a.drelative_values);
}

}  // namespace engine::ENGINE_ISA
