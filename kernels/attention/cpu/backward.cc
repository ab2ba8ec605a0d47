// Backward attention in f32. A task is a head of a sequence, which goes over blocks of queries and, for each, over
// tiles of keys, so every sum has one fixed order.
#include "kernels/attention/cpu/driver.h"
#include "kernels/attention/cpu/product.h"
#include "kernels/attention/cpu/relative.h"
#include "kernels/cpu/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

// A thread's memory.
struct BackwardF32 : ProductKernel {
  static int64_t fetches(int64_t keys, int vectors) { return keys * (2 + vectors) / 4; }
  struct State {
    float *q, *dy;                     // [query_block][padded width]
    float *q_across, *dy_across, *dq;  // [padded width][query_block]
    float *delta, *lse;                // [query_block]
  };

  float *keys, *values, *dkeys, *dvalues;  // [padded keys][padded width]
  float* rows;                             // [query_block][padded width]
  float *p, *ds;                           // [key_tile][query_block]
  State states[most_states];

  BackwardF32(ThreadMemory& of, int64_t longest, int64_t padded_width) {
    for (float** part : {&keys, &values, &dkeys, &dvalues})
      *part = of.take<float>(rounded_up(longest, row_padding) * padded_width);
    rows = of.take<float>(query_block * padded_width);
    for (float** part : {&p, &ds}) *part = of.take<float>(key_tile * query_block);
    for (State& state : states) {
      for (float** part : {&state.q, &state.dy, &state.q_across, &state.dy_across, &state.dq})
        *part = of.take<float>(query_block * padded_width);
      for (float** part : {&state.delta, &state.lse}) *part = of.take<float>(query_block);
    }
  }
};

void begin_queries(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const BackwardF32& at, const BackwardF32::State& state) {
  const int64_t padded_width = rounded_up(width, at.width_padding), row = span.query_begin + block.first;
  const int64_t queries = block.vectors * lanes;
  read_rows(a.q, row, head, width, block.count, state.q, queries, padded_width);
  read_rows(a.dy, row, head, width, block.count, state.dy, queries, padded_width);
  read_rows(a.y, row, head, width, block.count, at.rows, queries, padded_width);
  transpose_matrix(state.q, queries, padded_width, state.q_across, padded_width, query_block);
  transpose_matrix(state.dy, queries, padded_width, state.dy_across, padded_width, query_block);
  row_dots(state.dy, at.rows, queries, padded_width, state.delta);
  read_lse(a, row, head, block.count, state.lse);
  std::fill_n(state.dq, padded_width * query_block, 0.0f);
}

template <bool drops, class Ahead>
void take_keys(const AttentionBackwardArgs& a, const AttentionSpan&, int64_t, int64_t width,
               const QueryBlock& block, KeyTile tile, const BackwardF32& at, const BackwardF32::State& state,
               Ahead& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), queries = block.vectors * lanes;
  const int64_t rows = rounded_up(tile.count, at.row_padding), offset = tile.row * padded_width;
  const DropoutTile dropout{a.dropout};
  const auto fetch = [&]() __attribute__((always_inline)) { ahead.some(); };
  product<false>({at.keys + offset, padded_width, 1}, state.q_across, query_block, at.p, query_block, rows, queries,
                 padded_width, fetch);
  product<false>({at.values + offset, padded_width, 1}, state.dy_across, query_block, at.ds, query_block, rows, queries,
                 padded_width, fetch);
  for (int v = 0; v < block.vectors; ++v)
    softmax_gradient<drops>(at.p, at.ds, rows, tile.first, a.scale, block, v, dropout, load(state.lse + v * lanes),
                            load(state.delta + v * lanes), [&](int64_t j, const vfloat(&p)[4], const vfloat(&ds)[4]) {
                              ahead.some();
                              for (int w = 0; w < 4; ++w) {
                                store(at.p + (j + w) * query_block + v * lanes, p[w]);
                                store(at.ds + (j + w) * query_block + v * lanes, ds[w]);
                              }
                            });
  product<true>({at.p, query_block, 1}, state.dy, padded_width, at.dvalues + offset, padded_width, rows, padded_width,
                block.count, fetch);
  product<true>({at.ds, query_block, 1}, state.q, padded_width, at.dkeys + offset, padded_width, rows, padded_width,
                block.count, fetch);
  product<true>({at.keys + offset, 1, padded_width}, at.ds, query_block, state.dq, query_block, padded_width,
                queries, rows, fetch);
}

}  // namespace

void CpuOps::attention_backward(const AttentionBackwardArgs& a) {
  const int64_t width = check_attention(a);
  if (a.relative.distances) return attention_backward_relative(a, width, workspace_);
  if (unit_ && Bf16Unit::takes(a)) return unit_->attention_backward(a, width, workspace_);
  drive_backward<BackwardF32>(a, width, workspace_);
}

}  // namespace engine::ENGINE_ISA
