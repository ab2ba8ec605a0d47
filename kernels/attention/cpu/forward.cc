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
  static int64_t fetches(const QueryBlock& block) { return block.visible * 5 / 8; }

  float *keys, *values;  // [padded keys][padded width]
  float* rows;           // [query_block][padded width]
  float *q, *y;          // [padded width][query_block]
  float* scores;         // [key_tile][query_block]

  ForwardF32(ThreadMemory& of, int64_t longest, int64_t padded_width) {
    for (float** part : {&keys, &values}) *part = of.take<float>(rounded_up(longest, row_padding) * padded_width);
    for (float** part : {&rows, &q, &y}) *part = of.take<float>(query_block * padded_width);
    scores = of.take<float>(key_tile * query_block);
  }
};

void read_keys(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width, int64_t visible,
               const ForwardF32& at) {
  read_keys_and_values(a, span, head, width, visible, at);
}

template <bool drops>
void forward_block(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const ForwardF32& scratch, FetchAhead<>& ahead) {
  const int64_t padded_width = rounded_up(width, scratch.width_padding), queries = block.vectors * lanes;
  read_rows(a.q, span.query_begin + block.first, head, width, block.count, scratch.rows, queries, padded_width);
  transpose_matrix(scratch.rows, queries, padded_width, scratch.q, padded_width, query_block);
  const DropoutTile dropout{a.dropout};
  const auto fetch = [&]() __attribute__((always_inline)) { ahead.some(); };
  RunningSoftmax running[block_vectors];
  if (!block.visible) std::fill_n(scratch.y, padded_width * query_block, 0.0f);
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const int64_t rows = rounded_up(std::min(key_tile, block.visible - first), scratch.row_padding);
    product<false>({scratch.keys + first * padded_width, padded_width, 1}, scratch.q, query_block, scratch.scores,
                   query_block, rows, queries, padded_width, fetch);
    for (int v = 0; v < block.vectors; ++v) {
      float* at = scratch.scores + v * lanes;
      const vfloat correction = softmax_step<drops>(scratch.scores, rows, first, a.scale, block, v, dropout, running[v],
                                                    [&](int64_t j, const vfloat(&p)[4]) {
                                                      ahead.some();
                                                      for (int w = 0; w < 4; ++w)
                                                        store(at + (j + w) * query_block, p[w]);
                                                    });
      if (first)
        for (int64_t d = 0; d < padded_width; ++d) {
          float* sums = scratch.y + d * query_block + v * lanes;
          store(sums, load(sums) * correction);
        }
    }
    const LeftMatrix values{scratch.values + first * padded_width, 1, padded_width};
    if (first)
      product<true>(values, scratch.scores, query_block, scratch.y, query_block, padded_width, queries, rows, fetch);
    else
      product<false>(values, scratch.scores, query_block, scratch.y, query_block, padded_width, queries, rows, fetch);
  }
  for (int v = 0; v < block.vectors; ++v) {
    const int64_t row = span.query_begin + block.first + v * lanes;
    float* lse = a.lse ? a.lse.as<float>() + row * a.heads + head : nullptr;
    const vfloat factor = finish_softmax(running[v], lse, a.heads, block.count - v * lanes);
    for (int64_t d = 0; d < padded_width; ++d) {
      float* sums = scratch.y + d * query_block + v * lanes;
      store(sums, load(sums) * factor);
    }
  }
  transpose_matrix(scratch.y, padded_width, queries, scratch.rows, query_block, padded_width);
  write_rows(a.y, span.query_begin + block.first, head, width, block.count, scratch.rows, padded_width);
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
