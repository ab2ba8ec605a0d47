// Backward attention on tensor cores, in two passes that take the scores again, so that every sum has one owner and one
// order: dq by blocks of queries that go over the keys, then dk and dv by blocks of keys that go over the queries.
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
    const int64_t from = span.key_begin + key;
    tiles_of.column(0, stage).template load<Shape::columns>(a.k.bf16_at(from, column), a.k.stride, span.keys - key,
                                                            a.width, vectors);
    tiles_of.column(1, stage).template load<Shape::columns>(a.v.bf16_at(from, column), a.v.stride, span.keys - key,
                                                            a.width, vectors);
    copy_async_commit();
  };
  if (seen > 0) {
    const int64_t from = span.query_begin + first;
    tiles_of.own(0).template load<Shape::rows>(a.q.bf16_at(from, column), a.q.stride, span.queries - first, a.width,
                                               vectors);
    tiles_of.own(1).template load<Shape::rows>(a.dy.bf16_at(from, column), a.dy.stride, span.queries - first, a.width,
                                               vectors);
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
    sync_block();  // this tile is there, and all have left the one that is overwritten now
    if (key + Shape::columns < seen) load_keys(key + Shape::columns, stage ^ 1);
    if (key >= seen_by_warp) continue;
    float p[Shape::row_tiles][Shape::fragments][4], ds[Shape::row_tiles][Shape::fragments][4];
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
  tiles_of.of_warp(0).store(dq, scale, a.dq.bf16_at(span.query_begin + row, column),
                        a.dq.stride, count, a.width, vectors);
}

// Fragments are transposed here: rows are keys, columns queries.
template <int D, bool drops>
__global__ void __launch_bounds__(tile_threads, 2) dk_dv_kernel(const AttentionBackward a, int tiles, bool vectors) {
  using Shape = ShapeOfDkDv<D>;
  const BlockPlace place(a, tiles);
  BlockSpan span;
  if (!read_span(a, place.sequence, span)) return;
  const int first = place.tile * Shape::rows;
  if (first >= span.keys) return;
  const int row = first + warp_index() * Shape::warp_rows, count = smaller(Shape::warp_rows, span.keys - row);
  const int first_query = a.causal ? larger(0, first + span.queries - span.keys) : 0;  // to see one of these keys
  const int64_t column = int64_t{place.head} * a.width;
  const int g = lane_index() / 4, t = lane_index() % 4;
  const BlockTiles<Shape> tiles_of{dynamic_shared<unsigned char>()};

  const auto load_queries = [&](int query, int stage) {
    const int64_t from = span.query_begin + query;
    tiles_of.column(0, stage).template load<Shape::columns>(a.q.bf16_at(from, column), a.q.stride,
                                                            span.queries - query, a.width, vectors);
    tiles_of.column(1, stage).template load<Shape::columns>(a.dy.bf16_at(from, column), a.dy.stride,
                                                            span.queries - query, a.width, vectors);
    copy_async_commit();
  };
  // A thread for each query's lse, and one for each's delta.
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
    const int64_t from = span.key_begin + first;
    tiles_of.own(0).template load<Shape::rows>(a.k.bf16_at(from, column), a.k.stride, span.keys - first, a.width,
                                               vectors);
    tiles_of.own(1).template load<Shape::rows>(a.v.bf16_at(from, column), a.v.stride, span.keys - first, a.width,
                                               vectors);
    load_queries(first_query, 0);
    write_number(read_number(first_query), 0);
  }
  for (int query = first_query, stage = 0; query < span.queries; query += Shape::columns, stage ^= 1) {
    copy_async_wait<0>();
    sync_block();  // this tile is there, and all have left the one that is overwritten now
    const int next = query + Shape::columns;
    if (next < span.queries) {
      load_queries(next, stage ^ 1);
      write_number(read_number(next), stage ^ 1);
    }
    if (row >= span.visible(smaller(next, span.queries) - 1)) continue;
    const bool edge = row + Shape::warp_rows > span.visible(query);
    float p[Shape::row_tiles][Shape::fragments][4], weights[Shape::row_tiles][Shape::fragments][4];
    uint32_t dropped[Shape::row_tiles];
    multiply_rows<D>(ReadRows<D, Shape::row_tiles>(tiles_of.of_warp(0)), tiles_of.column(0, stage), p);
    ENGINE_UNROLL
    for (int r = 0; r < Shape::row_tiles; ++r) {
      if constexpr (drops)
        dropped[r] = dropped_weights_transposed<Shape::fragments>(a, span.query_begin + query, place.head,
                                                                  row + 16 * r);
      ENGINE_UNROLL
      for (int n = 0; n < Shape::fragments; ++n)
        ENGINE_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int at = 8 * n + 2 * t + e % 2;
          const float weight = exp2_fast(p[r][n][e] * (a.scale * log2_e) - tiles_of.numbers(0, stage)[at]);
          const bool masked = edge && row + 16 * r + 8 * (e / 2) + g >= span.visible(query + at);
          p[r][n][e] = weights[r][n][e] = masked ? 0.0f : weight;
          if constexpr (drops)
            if (dropped[r] >> (4 * n + e) & 1) weights[r][n][e] = 0;
        }
    }
    multiply_weights<D>(weights, tiles_of.column(1, stage), dv);
    multiply_rows<D>(ReadRows<D, Shape::row_tiles>(tiles_of.of_warp(1)), tiles_of.column(1, stage), weights);
    ENGINE_UNROLL
    for (int r = 0; r < Shape::row_tiles; ++r)
      ENGINE_UNROLL
      for (int n = 0; n < Shape::fragments; ++n)
        ENGINE_UNROLL
        for (int e = 0; e < 4; ++e) {
          float factor = 1;
          if constexpr (drops) factor = dropped[r] >> (4 * n + e) & 1 ? 0.0f : a.dropout.scale;
          p[r][n][e] *= weights[r][n][e] * factor - tiles_of.numbers(1, stage)[8 * n + 2 * t + e % 2];
        }
    multiply_weights<D>(p, tiles_of.column(0, stage), dk);
  }
  float k_factor[Shape::row_tiles][2], v_factor[Shape::row_tiles][2];
  ENGINE_UNROLL
  for (int i = 0; i < 2 * Shape::row_tiles; ++i) {
    k_factor[i / 2][i % 2] = a.scale;
    v_factor[i / 2][i % 2] = drops ? a.dropout.scale : 1.0f;
  }
  const int64_t to = span.key_begin + row;
  tiles_of.of_warp(0).store(dk, k_factor, a.dk.bf16_at(to, column), a.dk.stride, count,
                        a.width, vectors);
  tiles_of.of_warp(1).store(dv, v_factor, a.dv.bf16_at(to, column), a.dv.stride, count,
                        a.width, vectors);
}

}  // namespace

void CudaOps::attention_backward(const AttentionBackwardArgs& a) {
  const Operation operation("attention_backward", {a.q.matrix, a.k.matrix, a.v.matrix, a.dy});
  const int64_t width = check_attention(a, SegmentValues::on_device);
  if (cudnn_ && cudnn_->backward(a)) return;
  const ArenaScope scope(workspace_);
  const Tensor delta = workspace_.make(DType::f32, {a.q.matrix.rows(), a.heads});
  const AttentionBackward arguments(a, width, device_.fault(), delta.as<float>());
  if (a.relative.distances) return attention_backward_relative(arguments, a, workspace_, stream());
  bool tensor_cores = true, vectors = true;
  for (const DeviceColumns* part : {&arguments.q, &arguments.k, &arguments.v, &arguments.y, &arguments.dy,
                                    &arguments.dq, &arguments.dk, &arguments.dv}) {
    tensor_cores = tensor_cores && part->is_bf16;
    vectors = vectors && part->aligned(width);
  }
  if (!tensor_cores) return attention_backward_f32(arguments, stream());
  with_padded_width(width, [&](auto padded) {
    with_flag(arguments.drops, [&](auto drops) {
      const auto start = [&](auto shape, auto kernel, int64_t longest) {
        const int64_t tiles = ceil_div(longest, shape.rows);
        launch(kernel, arguments.grid(tiles), tile_threads, shape.shared_bytes, stream(), arguments,
               static_cast<int>(tiles), vectors);
      };
      start(ShapeOfDq<padded.value>(), dq_kernel<padded.value, drops.value>, a.queries.longest);
      start(ShapeOfDkDv<padded.value>(), dk_dv_kernel<padded.value, drops.value>, a.keys.longest);
    });
  });
}

}  // namespace engine::cuda
