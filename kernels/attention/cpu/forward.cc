// Forward attention in f32, by tiles of query_block queries and key_tile keys.
#include "kernels/attention/cpu/decode.h"
#include "kernels/attention/cpu/driver.h"
#include "kernels/attention/cpu/product.h"
#include "kernels/attention/cpu/relative.h"
#include "kernels/cpu/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

// A thread's memory.
struct ForwardF32 : ProductKernel {
  static int64_t fetches(int64_t keys, int vectors) { return keys * (1 + 2 * vectors) / 8; }
  struct State {
    float *q, *y;             // [padded width][query_block]
    RunningSoftmax* running;  // [block_vectors]
  };

  float *keys, *values;  // [padded keys][padded width]
  float* rows;           // [query_block][padded width]
  float* scores;         // [key_tile][query_block]
  State states[most_states];

  ForwardF32(ThreadMemory& of, int64_t longest, int64_t padded_width) {
    for (float** part : {&keys, &values}) *part = of.take<float>(rounded_up(longest, row_padding) * padded_width);
    rows = of.take<float>(query_block * padded_width);
    scores = of.take<float>(key_tile * query_block);
    for (State& state : states) {
      for (float** part : {&state.q, &state.y}) *part = of.take<float>(padded_width * query_block);
      state.running = of.take<RunningSoftmax>(block_vectors);
    }
  }
};

void begin_queries(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const ForwardF32& at, const ForwardF32::State& state) {
  const int64_t padded_width = rounded_up(width, at.width_padding), queries = block.vectors * lanes;
  read_rows(a.q, span.query_begin + block.first, head, width, block.count, at.rows, queries, padded_width);
  transpose_matrix(at.rows, queries, padded_width, state.q, padded_width, query_block);
  std::fill_n(state.running, block_vectors, RunningSoftmax());
  if (!block.visible) std::fill_n(state.y, padded_width * query_block, 0.0f);
}

template <bool drops, class Ahead>
void take_keys(const AttentionForwardArgs& a, const AttentionSpan&, int64_t, int64_t width,
               const QueryBlock& block, KeyTile tile, const ForwardF32& at, const ForwardF32::State& state,
               Ahead& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), queries = block.vectors * lanes;
  const int64_t rows = rounded_up(tile.count, at.row_padding), first = tile.first, offset = tile.row * padded_width;
  const DropoutTile dropout{a.dropout};
  const auto fetch = [&]() __attribute__((always_inline)) { ahead.some(); };
  product<false>({at.keys + offset, padded_width, 1}, state.q, query_block, at.scores, query_block, rows, queries,
                 padded_width, fetch);
  for (int v = 0; v < block.vectors; ++v) {
    float* scores = at.scores + v * lanes;
    const vfloat correction = softmax_step<drops>(
        at.scores, rows, first, a.scale, block, v, dropout, state.running[v], [&](int64_t j, const vfloat(&p)[4]) {
          ahead.some();
          for (int w = 0; w < 4; ++w) store(scores + (j + w) * query_block, p[w]);
        });
    if (first) scale_columns(state.y + v * lanes, padded_width, correction);
  }
  const LeftMatrix values{at.values + offset, 1, padded_width};
  if (first) product<true>(values, at.scores, query_block, state.y, query_block, padded_width, queries, rows, fetch);
  else product<false>(values, at.scores, query_block, state.y, query_block, padded_width, queries, rows, fetch);
}

}  // namespace

void CpuOps::attention_forward(const AttentionForwardArgs& a) {
  const int64_t width = check_attention(a);
  if (a.relative.distances) return attention_forward_relative(a, width, workspace_);
  if (longest_segment(a.queries) <= decode_queries) return attention_decode(a, width, workspace_);
  if (unit_ && Bf16Unit::takes(a)) return unit_->attention_forward(a, width, workspace_);
  drive_forward<ForwardF32>(a, width, workspace_);
}

}  // namespace engine::ENGINE_ISA
