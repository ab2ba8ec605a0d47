// Attention in f32 without tensor cores, for every dtype, width and alignment, with relative tables and without. The
// fast kernels leave these cases to it.
#include "kernels/attention/cuda/distances.h"

namespace engine::cuda {

namespace {

using namespace f32_tiles;

// Computes the weights again, now that each row's highest score is known, sums them by row of the tables, and adds the
// products of these sums with the table of values.
template <int D>
__device__ __forceinline__ void add_distances(const AttentionForward& a, const Distances& tables,
                                              const Tiles<D>& tiles_of, const OwnRows& own, const float (&highest)[4],
                                              float (&y)[4][D / 16]) {
  const auto& [span, head, first, count, row, column] = own;
  const int seen = span.visible(first + count - 1);
  SumsOfRow sums[4];
  for (int key = 0; key < seen; key += tile) {
    load_one(tiles_of, 1, a.k, span.key_begin + key, column, span.keys - key, a.width);
    float p[4][2];
    multiply_rows<D>(tiles_of.matrix(0), tiles_of.matrix(1), p);
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int query = first + thread_row() + i;
      for (int j = 0; j < 2; ++j) {
        const int at = key + thread_column() + 16 * j;
        if (query >= span.queries || at >= span.visible(query)) continue;
        float* const by_row = tables.scores + tables.at(a, span.query_begin + query, head);
        const int table_row = tables.row_of(span.place(query), at);
        const float weight = exp2_fast((p[i][j] + by_row[table_row]) * a.scale * log2_e - highest[i]) *
                             dropout_factor(a, row + thread_row() + i, head, at);
        sums[i].add(tables, by_row, table_row, weight);
      }
    }
  }
  sync_block();
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i)
    sums[i].finish(tables, tables.scores + tables.at(a, row + thread_row() + i, head), thread_row() + i < count);
  add_table<D>(a, tables, tiles_of, own, 2, tables.values, tables.scores, y);
}

// So many blocks share a multiprocessor, that is as many as leave a thread the registers that it needs.
template <int D, class Tables>
constexpr int least_blocks = Tables::there ? 1 : D > 96 ? 2 : 3;

template <int D, class Tables>
__global__ void __launch_bounds__(threads, least_blocks<D, Tables>)
    forward_kernel(const AttentionForward a, const Tables tables, int tiles) {
  OwnRows own;
  if (!own.find(a, tiles, false)) return;
  const auto& [span, head, first, count, row, column] = own;
  const Tiles<D> tiles_of{dynamic_shared<float>()};
  tiles_of.load(0, a.q, row, column, count, a.width);
  float highest[4], sum[4], y[4][D / 16] = {};
  for (int i = 0; i < 4; ++i) {
    highest[i] = -INFINITY;
    sum[i] = 0;
  }
  const int seen = span.visible(first + count - 1);
  if constexpr (Tables::there)
    multiply_table<D>(a, tables, tiles_of, own, 0, 1, tables.keys, tables.scores);
  for (int key = 0; key < seen; key += tile) {
    load_two(tiles_of, 1, a.k, a.v, span.key_begin + key, column, span.keys - key, a.width);
    float p[4][2];
    multiply_rows<D>(tiles_of.matrix(0), tiles_of.matrix(1), p);
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int query = first + thread_row() + i, visible = span.visible(query) - key - thread_column();
      float top = highest[i];
      for (int j = 0; j < 2; ++j) {
        if constexpr (Tables::there)
          if (16 * j < visible && query < span.queries)
            p[i][j] += tables.scores[tables.at(a, span.query_begin + query, head) +
                                     tables.row_of(span.place(query), key + thread_column() + 16 * j)];
        p[i][j] = 16 * j < visible ? p[i][j] * a.scale * log2_e : -INFINITY;
        top = fmaxf(top, p[i][j]);
      }
      top = across_row(top, Larger());
      const float base = top == -INFINITY ? 0.0f : top, correction = exp2_fast(highest[i] - base);
      highest[i] = top;
      sum[i] *= correction;
      for (int d = 0; d < D / 16; ++d) y[i][d] *= correction;
      for (int j = 0; j < 2; ++j) {
        p[i][j] = exp2_fast(p[i][j] - base);
        sum[i] += p[i][j];
        p[i][j] *= dropout_factor(a, row + thread_row() + i, head, key + thread_column() + 16 * j);
      }
    }
    multiply_weights<D>(p, tiles_of.weights(0), tiles_of.matrix(2), y);
  }
  if constexpr (Tables::there) add_distances<D>(a, tables, tiles_of, own, highest, y);
  float factor[4];
  for (int i = 0; i < 4; ++i) {
    const float total = across_row(sum[i], Add());
    factor[i] = total > 0 ? 1 / total : 0.0f;
    if (a.lse && thread_column() == 0 && thread_row() + i < count)
      a.lse[(row + thread_row() + i) * a.heads + head] =
          total > 0 ? (highest[i] + log2f(total)) * ln_2 : -INFINITY;
  }
  store<D>(a.y, row, column, count, a.width, y, factor);
}

// Computes the weight and its derivative at one place: p = 2^(score - lse), ds = p (dp M - delta). `ds` holds dp
// before.
__device__ __forceinline__ void weigh(const AttentionBackward& a, float lse, float delta, float factor, bool masked,
                                      float& p, float& ds) {
  p = masked || lse == -INFINITY ? 0.0f : exp2_fast(p * a.scale * log2_e - lse * log2_e);
  ds = masked ? 0.0f : p * (ds * factor - delta);
}

template <int D, class Tables>
__global__ void __launch_bounds__(threads, 1) dq_kernel(const AttentionBackward a, const Tables tables, int tiles) {
  OwnRows own;
  if (!own.find(a, tiles, false)) return;
  const auto& [span, head, first, count, row, column] = own;
  const Tiles<D> tiles_of{dynamic_shared<float>()};
  tiles_of.load(0, a.q, row, column, count, a.width);
  tiles_of.load(1, a.dy, row, column, count, a.width);
  float lse[4] = {}, delta[4] = {}, dq[4][D / 16] = {}, scale[4];
  ENGINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const bool valid = thread_row() + i < count;
    const int64_t at = row + thread_row() + i;
    const int64_t number = at * a.heads + head;
    if constexpr (Tables::there) {  // scores_kernel wrote it
      if (valid) delta[i] = a.delta[number];
    } else {
      delta[i] = delta_of_row(a, at, column, valid);
      if (valid && thread_column() == 0) a.delta[number] = delta[i];
    }
    if (valid) lse[i] = a.lse[number];
    scale[i] = a.scale;
  }
  const int seen = span.visible(first + count - 1);
  [[maybe_unused]] SumsOfRow sums[4], dsums[4];
  for (int key = 0; key < seen; key += tile) {
    load_two(tiles_of, 2, a.k, a.v, span.key_begin + key, column, span.keys - key, a.width);
    float p[4][2], ds[4][2];
    multiply_rows<D>(tiles_of.matrix(0), tiles_of.matrix(2), p);
    multiply_rows<D>(tiles_of.matrix(1), tiles_of.matrix(3), ds);
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 2; ++j) {
        const int at = key + thread_column() + 16 * j, query = first + thread_row() + i;
        const bool masked = at >= span.visible(query);
        const float factor = dropout_factor(a, row + thread_row() + i, head, at);
        if constexpr (!Tables::there) {
          weigh(a, lse[i], delta[i], factor, masked, p[i][j], ds[i][j]);
        } else {
          const bool valid = !masked && query < span.queries;
          const int64_t numbers = tables.at(a, span.query_begin + query, head);
          const int table_row = tables.row_of(span.place(query), at);
          if (valid) {
            p[i][j] += tables.scores[numbers + table_row];
            ds[i][j] += tables.dscores[numbers + table_row];
          }
          weigh(a, lse[i], delta[i], factor, masked, p[i][j], ds[i][j]);
          if (valid) {
            sums[i].add(tables, tables.dscores + numbers, table_row, p[i][j] * factor);
            dsums[i].add(tables, tables.scores + numbers, table_row, ds[i][j]);
          }
        }
      }
    multiply_weights<D>(ds, tiles_of.weights(0), tiles_of.matrix(2), dq);
  }
  if constexpr (Tables::there) {
    sync_block();
    ENGINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int64_t numbers = tables.at(a, row + thread_row() + i, head);
      sums[i].finish(tables, tables.dscores + numbers, thread_row() + i < count);
      dsums[i].finish(tables, tables.scores + numbers, thread_row() + i < count);
    }
    add_table<D>(a, tables, tiles_of, own, 3, tables.keys, tables.scores, dq);
  }
  store<D>(a.dq, row, column, count, a.width, dq, scale);
}

// Rows are keys here, and columns are queries.
template <int D, class Tables>
__global__ void __launch_bounds__(threads, least_blocks<D, Tables>)
    dk_dv_kernel(const AttentionBackward a, const Tables tables, int tiles) {
  OwnRows own;
  if (!own.find(a, tiles, true)) return;
  const auto& [span, head, first, count, row, column] = own;
  const Tiles<D> tiles_of{dynamic_shared<float>()};
  tiles_of.load(0, a.k, row, column, count, a.width);
  tiles_of.load(1, a.v, row, column, count, a.width);
  float dk[4][D / 16] = {}, dv[4][D / 16] = {};
  for (int query = a.causal ? larger(0, first + span.queries - span.keys) : 0; query < span.queries; query += tile) {
    load_two(tiles_of, 2, a.q, a.dy, span.query_begin + query, column, span.queries - query, a.width);
    float p[4][2], ds[4][2];
    multiply_rows<D>(tiles_of.matrix(0), tiles_of.matrix(2), p);
    multiply_rows<D>(tiles_of.matrix(1), tiles_of.matrix(3), ds);
    ENGINE_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int at = query + thread_column() + 16 * j;
      const bool valid = at < span.queries;
      const int64_t query_row = span.query_begin + at, number = query_row * a.heads + head;
      const float lse = valid ? a.lse[number] : -INFINITY, delta = valid ? a.delta[number] : 0.0f;
      ENGINE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int key = first + thread_row() + i;
        const float factor = dropout_factor(a, query_row, head, key);
        if constexpr (Tables::there)
          if (valid && key < span.visible(at)) {
            const int64_t number_of_row = tables.at(a, query_row, head) + tables.row_of(span.place(at), key);
            p[i][j] += tables.scores[number_of_row];
            ds[i][j] += tables.dscores[number_of_row];
          }
        weigh(a, lse, delta, factor, key >= span.visible(at), p[i][j], ds[i][j]);
        p[i][j] *= factor;
      }
    }
    multiply_weights<D>(p, tiles_of.weights(0), tiles_of.matrix(3), dv);
    multiply_weights<D>(ds, tiles_of.weights(1), tiles_of.matrix(2), dk);
  }
  float scale[4], one[4];
  for (int i = 0; i < 4; ++i) {
    scale[i] = a.scale;
    one[i] = 1;
  }
  store<D>(a.dk, row, column, count, a.width, dk, scale);
  store<D>(a.dv, row, column, count, a.width, dv, one);
}

template <int D, class Arguments, class Tables>
void start(void (*kernel)(Arguments, Tables, int), const Arguments& arguments, const Tables& tables, int64_t longest,
           cudaStream_t stream) {
  const int64_t tiles = ceil_div(longest, tile);
  launch(kernel, arguments.grid(tiles), threads, Tiles<D>::shared_bytes, stream, arguments, tables,
         static_cast<int>(tiles));
}

template <class Tables>
void forward(const AttentionForward& a, const Tables& tables, cudaStream_t stream) {
  with_padded_width(a.width, [&](auto padded) {
    start<padded.value>(forward_kernel<padded.value, Tables>, a, tables, a.longest_query, stream);
  });
}

}  // namespace

void attention_forward_f32(const AttentionForward& a, cudaStream_t stream) { forward(a, NoDistances(), stream); }
void attention_forward_f32(const AttentionForward& a, const Distances& tables, cudaStream_t stream) {
  forward(a, tables, stream);
}

void attention_backward_f32(const AttentionBackward& a, cudaStream_t stream) {
  with_padded_width(a.width, [&](auto padded) {
    constexpr int D = padded.value;
    start<D>(dq_kernel<D, NoDistances>, a, NoDistances(), a.longest_query, stream);
    start<D>(dk_dv_kernel<D, NoDistances>, a, NoDistances(), a.longest_key, stream);
  });
}

// The kernel for dq comes last, since it puts sums where the other one reads scores.
void attention_backward_f32(const AttentionBackward& a, const Distances& tables, cudaStream_t stream) {
  with_padded_width(a.width, [&](auto padded) {
    constexpr int D = padded.value;
    start<D>(dk_dv_kernel<D, Distances>, a, tables, a.longest_key, stream);
    start<D>(dq_kernel<D, Distances>, a, tables, a.longest_query, stream);
  });
}

}  // namespace engine::cuda
