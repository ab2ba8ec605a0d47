// Backward attention on tensor cores. Two passes compute the scores again, so that every sum has one owner and one
// order. Blocks of queries go over the keys for dq, then blocks of keys go over the queries for dk and dv.
#include "kernels/attention/cuda/backward.h"
#include "kernels/attention/cuda/cudnn_attention.h"
#include "kernels/attention/cuda/fragment_dropout.h"
#include "kernels/cuda/cuda_ops.h"

namespace engine::cuda {

namespace {

template <int D, bool drops>
__global__ void __launch_bounds__(tile_threads, 2) dq_kernel(const AttentionBackward a, int tiles, bool vectors) {
  using Shape = ShapeOfDq<D>;
  const BlockPlace place(a, tiles);
  BlockSpan span;
  if (!read_span(a, place.sequence, span)) return;
  const int first = (a.causal ? tiles - 1 - place.tile : place.tile) * Shape::rows;
  if (first >= span.queries) return;
  const int row = first + warp_index() * Shape::warp_rows, count = smaller(Shape::warp_rows, span.queries - row);
  const int seen = span.visible(smaller(first + Shape::rows, span.queries) - 1);
  const int seen_by_warp = count > 0 ? span.visible(row + count - 1) : 0;
  const int64_t column = int64_t{place.head} * a.width;
  const int g = lane_index() / 4, t = lane_index() % 4;
  const BlockTiles<Shape> tiles_of{dynamic_shared<unsigned char>()};

  const auto load_keys = [&](int key, int stage) {
    load_two<Shape::columns>(tiles_of.column(0, stage), a.k, tiles_of.column(1, stage), a.v, span.key_begin + key,
                             column, span.keys - key, a.width, vectors);
    copy_async_commit();
  };
  if (seen > 0) {
    load_two<Shape::rows>(tiles_of.own(0), a.q, tiles_of.own(1), a.dy, span.query_begin + first, column,
                          span.queries - first, a.width, vectors);
    load_keys(0, 0);
  }

  float lse[Shape::row_tiles][2], delta[Shape::row_tiles][2], scale[Shape::row_tiles][2];
  ENGINE_UNROLL
  for (int r = 0; r < Shape::row_tiles; ++r)
    ENGINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int query = row + 16 * r + 8 * half + g;
      const int64_t at = span.query_begin + query;
      const bool valid = query < span.queries;
      lse[r][half] = valid ? lse_of(a, at, place.head) : INFINITY;
      delta[r][half] = delta_of(a, at, column, valid, vectors);
      if (valid && t == 0) a.delta[at * a.heads + place.head] = delta[r][half];
      scale[r][half] = a.scale;
    }

  float dq[Shape::row_tiles][D / 8][4] = {};
  for (int key = 0, stage = 0; key < seen; key += Shape::columns, stage ^= 1) {
    copy_async_wait<0>();
    sync_block();  // this tile is there, and no warp reads the next one's place any more
    if (key + Shape::columns < seen) load_keys(key + Shape::columns, stage ^ 1);
    if (key >= seen_by_warp) continue;
    Fragments<Shape> p, ds;
    multiply_rows<D>(ReadRows<D, Shape::row_tiles>(tiles_of.of_warp(0)), tiles_of.column(0, stage), p);
    multiply_rows<D>(ReadRows<D, Shape::row_tiles>(tiles_of.of_warp(1)), tiles_of.column(1, stage), ds);
    const bool edge = key + Shape::columns > span.visible(row);
    ENGINE_UNROLL
    for (int r = 0; r < Shape::row_tiles; ++r) {
      uint32_t dropped = 0;
      if constexpr (drops)
        dropped = dropped_weights<Shape::fragments>(a, span.query_begin + row + 16 * r, place.head, key);
      ENGINE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int visible = edge ? span.visible(row + 16 * r + 8 * half + g) - key - 2 * t : Shape::columns;
        ENGINE_UNROLL
        for (int n = 0; n < Shape::fragments; ++n)
          ENGINE_UNROLL
          for (int c = 0; c < 2; ++c) {
            const int e = 2 * half + c;
            const float weight = exp2_fast(p[r][n][e] * (a.scale * log2_e) - lse[r][half]);
            float factor = 1;
            if constexpr (drops) factor = dropped >> (4 * n + e) & 1 ? 0.0f : a.dropout.scale;
            ds[r][n][e] = 8 * n + c < visible ? weight * (ds[r][n][e] * factor - delta[r][half]) : 0.0f;
          }
      }
    }
    multiply_weights<D>(ds, tiles_of.column(0, stage), dq);
  }
  tiles_of.of_warp(0).store(dq, scale, a.dq, span.query_begin + row, column, count, a.width, vectors);
}

// Turns the scores in p of keys from `row` with queries from `query` into weights. p is without dropout, for the
// scores' gradients, and `weights` is with it, for the values' gradients. Rows are keys and columns are queries.
template <class Shape, bool drops>
__device__ __forceinline__ void weigh_transposed(const AttentionBackward& a, const BlockSpan& span, int head, int row,
                                                 int query, const float* lse, Fragments<Shape>& p,
                                                 Fragments<Shape>& weights, uint32_t (&dropped)[Shape::row_tiles]) {
  const int g = lane_index() / 4, t = lane_index() % 4;
  const bool edge = row + Shape::warp_rows > span.visible(query);
  ENGINE_UNROLL
  for (int r = 0; r < Shape::row_tiles; ++r) {
    if constexpr (drops)
      dropped[r] = dropped_weights_transposed<Shape::fragments>(a, span.query_begin + query, head, row + 16 * r);
    ENGINE_UNROLL
    for (int n = 0; n < Shape::fragments; ++n)
      ENGINE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int at = 8 * n + 2 * t + e % 2;
        const float weight = exp2_fast(p[r][n][e] * (a.scale * log2_e) - lse[at]);
        const bool masked = edge && row + 16 * r + 8 * (e / 2) + g >= span.visible(query + at);
        p[r][n][e] = weights[r][n][e] = masked ? 0.0f : weight;
        if constexpr (drops)
          if (dropped[r] >> (4 * n + e) & 1) weights[r][n][e] = 0;
      }
  }
}

// Turns the weights in p into the scores' gradients, from the weights' gradients before dropout.
template <class Shape, bool drops>
__device__ __forceinline__ void differentiate_transposed(const AttentionBackward& a, const float* delta,
                                                         const uint32_t (&dropped)[Shape::row_tiles],
                                                         const Fragments<Shape>& dweights, Fragments<Shape>& p) {
  const int t = lane_index() % 4;
  ENGINE_UNROLL
  for (int r = 0; r < Shape::row_tiles; ++r)
    ENGINE_UNROLL
    for (int n = 0; n < Shape::fragments; ++n)
      ENGINE_UNROLL
      for (int e = 0; e < 4; ++e) {
        float factor = 1;
        if constexpr (drops) factor = dropped[r] >> (4 * n + e) & 1 ? 0.0f : a.dropout.scale;
        p[r][n][e] *= dweights[r][n][e] * factor - delta[8 * n + 2 * t + e % 2];
      }
}

// A block owns keys and goes over queries.
template <int D, bool drops>
__global__ void __launch_bounds__(tile_threads, 2) dk_dv_kernel(const AttentionBackward a, int tiles, bool vectors) {
  using Shape = ShapeOfDkDv<D>;
  const BlockPlace place(a, tiles);
  BlockSpan span;
  if (!read_span(a, place.sequence, span)) return;
  const int first = place.tile * Shape::rows;
  if (first >= span.keys) return;
  const int row = first + warp_index() * Shape::warp_rows, count = smaller(Shape::warp_rows, span.keys - row);
  // The first query that sees one of these keys.
  const int first_query = a.causal ? larger(0, first + span.queries - span.keys) : 0;
  const int64_t column = int64_t{place.head} * a.width;
  const BlockTiles<Shape> tiles_of{dynamic_shared<unsigned char>()};

  const auto load_queries = [&](int query, int stage) {
    load_two<Shape::columns>(tiles_of.column(0, stage), a.q, tiles_of.column(1, stage), a.dy, span.query_begin + query,
                             column, span.queries - query, a.width, vectors);
    copy_async_commit();
  };
  // One group of threads reads each query's lse, and a second one reads its delta.
  const int number = static_cast<int>(threadIdx.x) % Shape::columns;
  const int which = static_cast<int>(threadIdx.x) / Shape::columns;
  const bool reads_lse = which == 0, reads_delta = which == 1;
  const auto read_number = [&](int query) {
    const bool valid = query + number < span.queries;
    const int64_t at = span.query_begin + query + number;
    if (reads_lse) return valid ? lse_of(a, at, place.head) : INFINITY;
    return reads_delta && valid ? a.delta[at * a.heads + place.head] : 0.0f;
  };
  const auto write_number = [&](float value, int stage) {
    if (reads_lse || reads_delta) tiles_of.numbers(reads_delta, stage)[number] = value;
  };

  float dk[Shape::row_tiles][D / 8][4] = {}, dv[Shape::row_tiles][D / 8][4] = {};
  if (first_query < span.queries) {
    load_two<Shape::rows>(tiles_of.own(0), a.k, tiles_of.own(1), a.v, span.key_begin + first, column,
                          span.keys - first, a.width, vectors);
    load_queries(first_query, 0);
    write_number(read_number(first_query), 0);
  }
  for (int query = first_query, stage = 0; query < span.queries; query += Shape::columns, stage ^= 1) {
    copy_async_wait<0>();
    sync_block();  // this tile is there, and no warp reads the next one's place any more
    const int next = query + Shape::columns;
    if (next < span.queries) {
      load_queries(next, stage ^ 1);
      write_number(read_number(next), stage ^ 1);
    }
    if (row >= span.visible(smaller(next, span.queries) - 1)) continue;
    Fragments<Shape> p, weights;
    uint32_t dropped[Shape::row_tiles];
    multiply_rows<D>(ReadRows<D, Shape::row_tiles>(tiles_of.of_warp(0)), tiles_of.column(0, stage), p);
    weigh_transposed<Shape, drops>(a, span, place.head, row, query, tiles_of.numbers(0, stage), p, weights, dropped);
    multiply_weights<D>(weights, tiles_of.column(1, stage), dv);
    multiply_rows<D>(ReadRows<D, Shape::row_tiles>(tiles_of.of_warp(1)), tiles_of.column(1, stage), weights);
    differentiate_transposed<Shape, drops>(a, tiles_of.numbers(1, stage), dropped, weights, p);
    multiply_weights<D>(p, tiles_of.column(0, stage), dk);
  }
  float k_factor[Shape::row_tiles][2], v_factor[Shape::row_tiles][2];
  ENGINE_UNROLL
  for (int i = 0; i < 2 * Shape::row_tiles; ++i) {
    k_factor[i / 2][i % 2] = a.scale;
    v_factor[i / 2][i % 2] = drops ? a.dropout.scale : 1.0f;
  }
  const int64_t to = span.key_begin + row;
  tiles_of.of_warp(0).store(dk, k_factor, a.dk, to, column, count, a.width, vectors);
  tiles_of.of_warp(1).store(dv, v_factor, a.dv, to, column, count, a.width, vectors);
}

// Adds the gradients of keys and values that lie in scratch to those of all passes. A block takes a key of a sequence.
__global__ void __launch_bounds__(tile_threads) add_to_keys_kernel(const AttentionBackward sums,
                                                                   const AttentionBackward own) {
  const int sequence = static_cast<int>(blockIdx.x) / sums.longest_key;
  const int key = static_cast<int>(blockIdx.x) % sums.longest_key;
  BlockSpan span;
  if (!read_span(sums, sequence, span) || key >= span.keys) return;
  const int64_t row = span.key_begin + key;
  const auto add = [&](const DeviceMatrix& to, const DeviceMatrix& from) {
    for (int c = static_cast<int>(threadIdx.x); c < sums.heads * sums.width; c += tile_threads)
      *element_at<float>(to, row, c) += load_element(from, row, c);
  };
  add(sums.dk, own.dk);
  add(sums.dv, own.dv);
}

}  // namespace

// The tensor cores' kernels write whole rows in the queries' precision, and so does cuDNN.
void CudaOps::attention_backward_adding(const AttentionBackwardArgs& a, int64_t width) {
  const ArenaScope scope(workspace_);
  AttentionBackwardArgs own = a;
  own.adds_to_keys = false;
  own.dk = workspace_.make(a.q.matrix.dtype, {a.k.matrix.rows(), a.q.width});
  own.dv = workspace_.make(a.q.matrix.dtype, {a.k.matrix.rows(), a.q.width});
  attention_backward(own);
  if (!a.queries.count() || !a.keys.longest) return;
  launch(add_to_keys_kernel, blocks(a.queries.count() * a.keys.longest), tile_threads, 0, stream(),
         AttentionBackward(a, width, device_.fault(), nullptr),
         AttentionBackward(own, width, device_.fault(), nullptr));
}

void CudaOps::attention_backward(const AttentionBackwardArgs& a) {
  const Operation operation("attention_backward", {a.q.matrix, a.k.matrix, a.v.matrix, a.dy});
  const int64_t width = check_attention(a, SegmentValues::on_device);
  if (a.adds_to_keys) return attention_backward_adding(a, width);
  const ArenaScope scope(workspace_);
  const Tensor delta = workspace_.make(DType::f32, {a.q.matrix.rows(), a.heads});
  const AttentionBackward arguments(a, width, device_.fault(), delta.as<float>());
  if (a.relative.distances) return attention_backward_relative(arguments, a, workspace_, stream());
  if (cudnn_ && cudnn_->backward(arguments)) return;
  if (!all_bf16(arguments)) return attention_backward_f32(arguments, stream());
  with_padded_width(width, [&](auto padded) {
    with_flag(arguments.drops, [&](auto drops) {
      const auto start = [&](auto shape, auto kernel, int64_t longest) {
        const int64_t tiles = ceil_div(longest, shape.rows);
        launch(kernel, arguments.grid(tiles), tile_threads, shape.shared_bytes, stream(), arguments,
               static_cast<int>(tiles), all_take_vectors(arguments));
      };
      start(ShapeOfDq<padded.value>(), dq_kernel<padded.value, drops.value>, arguments.longest_query);
      start(ShapeOfDkDv<padded.value>(), dk_dv_kernel<padded.value, drops.value>, arguments.longest_key);
    });
  });
}

}  // namespace engine::cuda
