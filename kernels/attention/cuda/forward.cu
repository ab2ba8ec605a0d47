// Forward attention on tensor cores. A block takes 128 queries of one head, 32 a warp, and goes over tiles of keys with
// a running softmax. It copies the next tile of keys and values while it uses one.
#include "kernels/attention/cuda/cudnn_attention.h"
#include "kernels/attention/cuda/fragment_dropout.h"
#include "kernels/cuda/cuda_ops.h"

namespace engine::cuda {

namespace {

constexpr int row_tiles = 2, warp_rows = 16 * row_tiles, block_rows = warp_rows * tile_warps;

// Wide heads have shorter tiles, so that scores, sums and copies fit in registers and shared memory.
template <int D>
struct ForwardShape {
  static constexpr int keys = D <= 64 ? 64 : 32, fragments = keys / 8;
  static constexpr size_t queries_bytes = Tile<D>::bytes(block_rows), keys_bytes = Tile<D>::bytes(keys);
  static constexpr size_t shared_bytes = queries_bytes + 4 * keys_bytes;
  using Queries = std::conditional_t<D <= 32, HeldRows<D, row_tiles>, ReadRows<D, row_tiles>>;
};

// Holds, for this warp's rows, the highest score so far in units of log 2, and this lane's part of the sum of 2^(score
// - highest).
struct RunningSoftmax {
  float highest[row_tiles][2], sum[row_tiles][2];
};

// Turns scores of queries from `row` with keys from `key` into weights, and brings y to the new maximum.
template <bool drops, int fragments, int outputs>
__device__ __forceinline__ void softmax_step(const AttentionForward& a, const BlockSpan& span, int head, int row,
                                             int key, float (&scores)[row_tiles][fragments][4],
                                             float (&y)[row_tiles][outputs][4], RunningSoftmax& running) {
  const int g = lane_index() / 4, t = lane_index() % 4;
  const float scale = a.scale * log2_e;
  // Treats every tile as an edge for the widest heads with dropout: telling them apart takes one register too many on
  // sm_100.
  const bool edge = (drops && outputs == 16) || key + 8 * fragments > span.visible(row);
  ENGINE_UNROLL
  for (int r = 0; r < row_tiles; ++r) {
    float correction[2];
    ENGINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int visible = edge ? span.visible(row + 16 * r + 8 * half + g) - key - 2 * t : 8 * fragments;
      float highest = running.highest[r][half];
      ENGINE_UNROLL
      for (int n = 0; n < fragments; ++n)
        ENGINE_UNROLL
        for (int c = 0; c < 2; ++c) {
          float& score = scores[r][n][2 * half + c];
          score = 8 * n + c < visible ? score * scale : -INFINITY;
          highest = fmaxf(highest, score);
        }
      highest = row_max(highest);
      const float base = highest == -INFINITY ? 0.0f : highest;  // before the first key 2^-inf = 0, not 2^nan
      correction[half] = exp2_fast(running.highest[r][half] - base);
      float sum = running.sum[r][half] * correction[half];
      ENGINE_UNROLL
      for (int n = 0; n < fragments; ++n)
        ENGINE_UNROLL
        for (int c = 0; c < 2; ++c) {
          float& score = scores[r][n][2 * half + c];
          score = exp2_fast(score - base);
          sum += score;
        }
      running.highest[r][half] = highest;
      running.sum[r][half] = sum;
    }
    if (ballot(correction[0] != 1.0f || correction[1] != 1.0f)) {
      ENGINE_UNROLL
      for (int n = 0; n < outputs; ++n)
        ENGINE_UNROLL
        for (int e = 0; e < 4; ++e) y[r][n][e] *= correction[e / 2];
    }
    if constexpr (drops) {
      const uint32_t dropped = dropped_weights<fragments>(a, span.query_begin + row + 16 * r, head, key);
      ENGINE_UNROLL
      for (int n = 0; n < fragments; ++n)
        ENGINE_UNROLL
        for (int e = 0; e < 4; ++e)
          if (dropped >> (4 * n + e) & 1) scores[r][n][e] = 0;
    }
  }
}

// Computes the factor of each row's sum of values, and writes lse.
__device__ __forceinline__ void finish_softmax(const AttentionForward& a, const BlockSpan& span, int head, int row,
                                               const RunningSoftmax& running, float (&factor)[row_tiles][2]) {
  ENGINE_UNROLL
  for (int r = 0; r < row_tiles; ++r)
    ENGINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float sum = row_sum(running.sum[r][half]);
      const int query = row + 16 * r + 8 * half + lane_index() / 4;
      factor[r][half] = sum > 0 ? (a.drops ? a.dropout.scale : 1.0f) / sum : 0.0f;
      if (a.lse && lane_index() % 4 == 0 && query < span.queries)
        a.lse[int64_t{span.query_begin + query} * a.heads + head] =
            sum > 0 ? (running.highest[r][half] + log2f(sum)) * ln_2 : -INFINITY;
    }
}

template <int D, bool drops>
__global__ void __launch_bounds__(tile_threads) forward_kernel(const AttentionForward a, int tiles, bool vectors) {
  using Shape = ForwardShape<D>;
  const BlockPlace place(a, tiles);
  BlockSpan span;
  if (!read_span(a, place.sequence, span)) return;
  // Causal blocks that see most keys begin first.
  const int first = (a.causal ? tiles - 1 - place.tile : place.tile) * block_rows;
  if (first >= span.queries) return;
  const int row = first + warp_index() * warp_rows, count = smaller(warp_rows, span.queries - row);
  const int seen = span.visible(smaller(first + block_rows, span.queries) - 1);
  const int seen_by_warp = count > 0 ? span.visible(row + count - 1) : 0;
  const int64_t column = int64_t{place.head} * a.width;

  unsigned char* const shared = dynamic_shared<unsigned char>();
  const Tile<D> queries{reinterpret_cast<Piece*>(shared)};
  const auto keys_of = [&](int stage) {
    return Tile<D>{reinterpret_cast<Piece*>(shared + Shape::queries_bytes + stage * 2 * Shape::keys_bytes)};
  };
  const auto values_of = [&](int stage) { return keys_of(stage).from_row(Shape::keys); };
  const auto load = [&](int key, int stage) {
    load_two<Shape::keys>(keys_of(stage), a.k, values_of(stage), a.v, span.key_begin + key, column, span.keys - key,
                          a.width, vectors);
    copy_async_commit();
  };

  RunningSoftmax running;
  float y[row_tiles][D / 8][4] = {};
  ENGINE_UNROLL
  for (int i = 0; i < 2 * row_tiles; ++i) {
    running.highest[i / 2][i % 2] = -INFINITY;
    running.sum[i / 2][i % 2] = 0;
  }
  if (seen > 0) {
    queries.template load<block_rows>(a.q, span.query_begin + first, column, span.queries - first, a.width, vectors);
    copy_async_commit();
    load(0, 0);
    copy_async_wait<1>();
    sync_block();
    const typename Shape::Queries rows(queries.from_row(warp_index() * warp_rows));
    for (int key = 0, stage = 0; key < seen; key += Shape::keys, stage ^= 1) {
      copy_async_wait<0>();
      sync_block();  // this tile is there, and no warp reads the next one's place any more
      if (key + Shape::keys < seen) load(key + Shape::keys, stage ^ 1);
      if (key >= seen_by_warp) continue;
      float scores[row_tiles][Shape::fragments][4];
      multiply_rows<D>(rows, keys_of(stage), scores);
      softmax_step<drops>(a, span, place.head, row, key, scores, y, running);
      multiply_weights<D>(scores, values_of(stage), y);
    }
  }
  float factor[row_tiles][2];
  finish_softmax(a, span, place.head, row, running, factor);
  queries.from_row(warp_index() * warp_rows)
      .store(y, factor, a.y, span.query_begin + row, column, count, a.width, vectors);
}

}  // namespace

void CudaOps::attention_forward(const AttentionForwardArgs& a) {
  const Operation operation("attention_forward", {a.q.matrix, a.k.matrix, a.v.matrix, a.y});
  const AttentionForward arguments(a, check_attention(a, SegmentValues::on_device), device_.fault());
  if (a.relative.distances) return attention_forward_relative(arguments, a.relative, workspace_, stream());
  if (cudnn_ && cudnn_->forward(arguments)) return;
  if (arguments.longest_query <= decode_queries && arguments.k.is_bf16 == arguments.v.is_bf16)
    return attention_decode(arguments, workspace_, stream());
  if (!all_bf16(arguments)) return attention_forward_f32(arguments, stream());
  const int64_t tiles = ceil_div(arguments.longest_query, block_rows);
  with_padded_width(arguments.width, [&](auto padded) {
    with_flag(arguments.drops, [&](auto drops) {
      launch(forward_kernel<padded.value, drops.value>, arguments.grid(tiles), tile_threads,
             ForwardShape<padded.value>::shared_bytes, stream(), arguments, static_cast<int>(tiles),
             all_take_vectors(arguments));
    });
  });
}

}  // namespace engine::cuda
