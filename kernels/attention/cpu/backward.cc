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
  static int64_t fetches(const QueryBlock& block) { return block.visible; }

  float *keys, *values, *dkeys, *dvalues;   // [padded keys][padded width]
  float *q, *dy, *y;                        // [query_block][padded width]
  float *q_across, *dy_across, *dq_across;  // [padded width][query_block]
  float *p, *ds;                            // [key_tile][query_block]

  BackwardF32(ThreadMemory& of, int64_t longest, int64_t padded_width) {
    for (float** part : {&keys, &values, &dkeys, &dvalues})
      *part = of.take<float>(rounded_up(longest, row_padding) * padded_width);
    for (float** part : {&q, &dy, &y, &q_across, &dy_across, &dq_across})
      *part = of.take<float>(query_block * padded_width);
    for (float** part : {&p, &ds}) *part = of.take<float>(key_tile * query_block);
  }
};

void read_keys(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
               const BackwardF32& at) {
  read_keys_and_values(a, span, head, width, span.keys, at);
}

template <bool drops>
void backward_block(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                    const QueryBlock& block, const BackwardF32& at, FetchAhead<>& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), row = span.query_begin + block.first;
  const int64_t queries = block.vectors * lanes;
  read_rows(a.q, row, head, width, block.count, at.q, queries, padded_width);
  read_rows(a.dy, row, head, width, block.count, at.dy, queries, padded_width);
  read_rows(a.y, row, head, width, block.count, at.y, queries, padded_width);
  transpose_matrix(at.q, queries, padded_width, at.q_across, padded_width, query_block);
  transpose_matrix(at.dy, queries, padded_width, at.dy_across, padded_width, query_block);
  float delta[query_block], lse[query_block] = {};
  row_dots(at.dy, at.y, queries, padded_width, delta);
  for (int64_t i = 0; i < block.count; ++i) lse[i] = a.lse.as<float>()[(row + i) * a.heads + head];
  std::fill_n(at.dq_across, padded_width * query_block, 0.0f);
  const DropoutTile dropout{a.dropout};
  const auto fetch = [&]() __attribute__((always_inline)) { ahead.some(); };
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const int64_t rows = rounded_up(std::min(key_tile, block.visible - first), at.row_padding),
                  offset = first * padded_width;
    product<false>({at.keys + offset, padded_width, 1}, at.q_across, query_block, at.p, query_block, rows, queries,
                   padded_width, fetch);
    product<false>({at.values + offset, padded_width, 1}, at.dy_across, query_block, at.ds, query_block, rows,
                   queries, padded_width, fetch);
    for (int v = 0; v < block.vectors; ++v)
      softmax_gradient<drops>(at.p, at.ds, rows, first, a.scale, block, v, dropout, load(lse + v * lanes),
                              load(delta + v * lanes), [&](int64_t j, const vfloat(&p)[4], const vfloat(&ds)[4]) {
                                ahead.some();
                                for (int w = 0; w < 4; ++w) {
                                  store(at.p + (j + w) * query_block + v * lanes, p[w]);
                                  store(at.ds + (j + w) * query_block + v * lanes, ds[w]);
                                }
                              });
    product<true>({at.p, query_block, 1}, at.dy, padded_width, at.dvalues + offset, padded_width, rows, padded_width,
                  block.count, fetch);
    product<true>({at.ds, query_block, 1}, at.q, padded_width, at.dkeys + offset, padded_width, rows, padded_width,
                  block.count, fetch);
    product<true>({at.keys + offset, 1, padded_width}, at.ds, query_block, at.dq_across, query_block, padded_width,
                  queries, rows, fetch);
  }
  transpose_matrix(at.dq_across, padded_width, queries, at.q, query_block, padded_width);
  write_rows(a.dq, row, head, width, block.count, at.q, padded_width, a.scale);
}

}  // namespace

void CpuOps::attention_backward(const AttentionBackwardArgs& a) {
  const int64_t width = check_attention(a);
  if (a.relative.distances) return attention_backward_relative(a, width, workspace_);
  if (unit_ && Bf16Unit::takes(a)) return unit_->attention_backward(a, width, workspace_);
  drive_backward<BackwardF32>(a, width, workspace_);
}

}  // namespace engine::ENGINE_ISA
