// Forward attention in f32, by tiles of query_block queries and key_tile keys.
#include "core/parallel.h"
#include "kernels/attention_amx.h"
#include "kernels/attention_decode.h"
#include "kernels/attention_product.h"
#include "kernels/attention_tile.h"
#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t blocks_a_task = 8;  // that share one reading of the keys
constexpr int64_t row_padding = 8;    // product() takes rows by eights

// A thread's memory.
struct Scratch {
  float *keys, *values;  // [padded keys][padded width]
  float* rows;           // [query_block][padded width]
  float *q, *y;          // [padded width][query_block]
  float* scores;         // [key_tile][query_block]

  static int64_t size(int64_t longest, int64_t padded_width) {
    return padded_width * (2 * rounded_up(longest, row_padding) + 3 * query_block) + key_tile * query_block;
  }
  Scratch(float* memory, int64_t longest, int64_t padded_width) {
    keys = memory;
    values = keys + rounded_up(longest, row_padding) * padded_width;
    rows = values + rounded_up(longest, row_padding) * padded_width;
    q = rows + query_block * padded_width;
    y = q + padded_width * query_block;
    scores = y + padded_width * query_block;
  }
};

template <bool drops>
void forward_block(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const Scratch& scratch) {
  const int64_t padded_width = rounded_up(width, lanes);
  read_rows(a.q, span.query_begin + block.first, head, width, block.count, scratch.rows, query_block, padded_width);
  transpose_matrix(scratch.rows, query_block, padded_width, scratch.q, padded_width, query_block);
  const DropoutTile dropout{a.dropout};
  RunningSoftmax running[block_vectors];
  if (!block.visible) std::fill_n(scratch.y, padded_width * query_block, 0.0f);
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const int64_t rows = rounded_up(std::min(key_tile, block.visible - first), row_padding);
    product<false>({scratch.keys + first * padded_width, padded_width, 1}, scratch.q, query_block, scratch.scores,
                   query_block, rows, query_block, padded_width);
    for (int v = 0; v < block_vectors; ++v) {
      float* at = scratch.scores + v * lanes;
      const vfloat correction = softmax_step<drops>(scratch.scores, rows, first, a.scale, block, v, dropout, running[v],
                                                    [&](int64_t j, const vfloat(&p)[4]) {
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
      product<true>(values, scratch.scores, query_block, scratch.y, query_block, padded_width, query_block, rows);
    else product<false>(values, scratch.scores, query_block, scratch.y, query_block, padded_width, query_block, rows);
  }
  for (int v = 0; v < block_vectors; ++v) {
    const int64_t row = span.query_begin + block.first + v * lanes;
    float* lse = a.lse ? a.lse.as<float>() + row * a.heads + head : nullptr;
    const vfloat factor = finish_softmax(running[v], lse, a.heads, block.count - v * lanes);
    for (int64_t d = 0; d < padded_width; ++d) {
      float* sums = scratch.y + d * query_block + v * lanes;
      store(sums, load(sums) * factor);
    }
  }
  transpose_matrix(scratch.y, padded_width, query_block, scratch.rows, query_block, padded_width);
  write_rows(a.y, span.query_begin + block.first, head, width, block.count, scratch.rows, padded_width);
}

// Queries begin ... end - 1 of a sequence and head; the task's next heads go up to last_head.
void forward_queries(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t last_head,
                     int64_t width, int64_t begin, int64_t end, const Scratch& scratch) {
  const int64_t padded_width = rounded_up(width, lanes), visible = span.visible(end - 1, a.causal);
  const int64_t padded_keys = rounded_up(visible, row_padding);
  read_rows(a.k, span.key_begin, head, width, visible, scratch.keys, padded_keys, padded_width);
  read_rows(a.v, span.key_begin, head, width, visible, scratch.values, padded_keys, padded_width);
  const int64_t blocks = (end - begin + query_block - 1) / query_block;
  with_flag(a.dropout.rate > 0, [&](auto drops) {
    for (int64_t i = 0; i < blocks; ++i) {
      const QueryBlock block(span, begin + i * query_block, a.causal, a.dropout, a.heads, head);
      const int64_t row = span.query_begin + block.first;
      prefetch_rows(a.y, row, head, width, block.count);
      if (i + 1 < blocks)
        prefetch_rows(a.q, row + query_block, head, width, std::min(query_block, end - block.first - query_block));
      if (head + 1 < last_head) {
        if (i + 1 == blocks)
          prefetch_rows(a.q, span.query_begin + begin, head + 1, width, std::min(query_block, end - begin));
        prefetch_rows(a.k, span.key_begin, head + 1, width, visible, i, blocks);
        prefetch_rows(a.v, span.key_begin, head + 1, width, visible, i, blocks);
      }
      forward_block<drops.value>(a, span, head, width, block, scratch);
    }
  });
}

}  // namespace

void CpuOps::attention_forward(const AttentionForwardArgs& a) {
  const int64_t width = check_attention(a);
  if (longest_segment(a.queries) <= decode_queries) return attention_decode(a, width, workspace_);
  if (runs_on_amx(a)) return attention_forward_amx(a, width, workspace_);
  const int64_t longest = longest_segment(a.keys), padded_width = rounded_up(width, lanes);
  const int64_t queries_a_task = blocks_a_task * query_block;
  const int64_t tasks_a_head = (longest_segment(a.queries) + queries_a_task - 1) / queries_a_task;
  const ArenaScope scope(workspace_);
  const int64_t size = rounded_up(Scratch::size(longest, padded_width), 16);
  float* memory = workspace_.make(DType::f32, {thread_count(), size}).as<float>();
  const int64_t grain = heads_a_task(a.queries, a.keys, a.heads), groups = (a.heads + grain - 1) / grain;
  parallel_for(a.queries.count() * groups * tasks_a_head, [&](int64_t task) {
    const AttentionSpan span = span_of(a.queries, a.keys, task / (groups * tasks_a_head));
    const int64_t begin = task % tasks_a_head * queries_a_task, end = std::min(begin + queries_a_task, span.queries);
    if (begin >= end) return;
    const Scratch scratch(memory + thread_index() * size, longest, padded_width);
    const int64_t first_head = task / tasks_a_head % groups * grain,
                  last_head = std::min<int64_t>(first_head + grain, a.heads);
    for (int64_t head = first_head; head < last_head; ++head)
      forward_queries(a, span, head, last_head, width, begin, end, scratch);
  });
}

}  // namespace engine::ENGINE_ISA
