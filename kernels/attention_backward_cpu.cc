// Backward attention in f32: a task is a head of a sequence, which goes over blocks of queries and, for each, over
// tiles of keys; so every sum has one fixed order.
#include "core/parallel.h"
#include "kernels/attention_amx.h"
#include "kernels/attention_product.h"
#include "kernels/attention_tile.h"
#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t row_padding = 8;  // product() takes rows by eights

// A thread's memory.
struct Scratch {
  float *keys, *values, *dkeys, *dvalues;   // [padded keys][padded width]
  float *q, *dy, *y;                        // [query_block][padded width]
  float *q_across, *dy_across, *dq_across;  // [padded width][query_block]
  float *p, *ds;                            // [key_tile][query_block]

  static int64_t size(int64_t longest, int64_t padded_width) {
    return padded_width * (4 * rounded_up(longest, row_padding) + 6 * query_block) + 2 * key_tile * query_block;
  }
  Scratch(float* memory, int64_t longest, int64_t padded_width) {
    const auto take = [&](int64_t count) {
      float* part = memory;
      memory += count;
      return part;
    };
    for (float** part : {&keys, &values, &dkeys, &dvalues})
      *part = take(rounded_up(longest, row_padding) * padded_width);
    for (float** part : {&q, &dy, &y, &q_across, &dy_across, &dq_across}) *part = take(query_block * padded_width);
    for (float** part : {&p, &ds}) *part = take(key_tile * query_block);
  }
};

template <bool drops>
void backward_block(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                    const QueryBlock& block, const Scratch& at) {
  const int64_t padded_width = rounded_up(width, lanes), row = span.query_begin + block.first;
  read_rows(a.q, row, head, width, block.count, at.q, query_block, padded_width);
  read_rows(a.dy, row, head, width, block.count, at.dy, query_block, padded_width);
  read_rows(a.y, row, head, width, block.count, at.y, query_block, padded_width);
  transpose_matrix(at.q, query_block, padded_width, at.q_across, padded_width, query_block);
  transpose_matrix(at.dy, query_block, padded_width, at.dy_across, padded_width, query_block);
  float delta[query_block], lse[query_block] = {};
  row_dots(at.dy, at.y, padded_width, delta);
  for (int64_t i = 0; i < block.count; ++i) lse[i] = a.lse.as<float>()[(row + i) * a.heads + head];
  std::fill_n(at.dq_across, padded_width * query_block, 0.0f);
  const DropoutTile dropout{a.dropout};
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const int64_t rows = rounded_up(std::min(key_tile, block.visible - first), row_padding),
                  offset = first * padded_width;
    product<false>({at.keys + offset, padded_width, 1}, at.q_across, query_block, at.p, query_block, rows, query_block,
                   padded_width);
    product<false>({at.values + offset, padded_width, 1}, at.dy_across, query_block, at.ds, query_block, rows,
                   query_block, padded_width);
    for (int v = 0; v < block_vectors; ++v)
      softmax_gradient<drops>(at.p, at.ds, rows, first, a.scale, block, v, dropout, load(lse + v * lanes),
                              load(delta + v * lanes), [&](int64_t j, const vfloat(&p)[4], const vfloat(&ds)[4]) {
                                for (int w = 0; w < 4; ++w) {
                                  store(at.p + (j + w) * query_block + v * lanes, p[w]);
                                  store(at.ds + (j + w) * query_block + v * lanes, ds[w]);
                                }
                              });
    product<true>({at.p, query_block, 1}, at.dy, padded_width, at.dvalues + offset, padded_width, rows, padded_width,
                  query_block);
    product<true>({at.ds, query_block, 1}, at.q, padded_width, at.dkeys + offset, padded_width, rows, padded_width,
                  query_block);
    product<true>({at.keys + offset, 1, padded_width}, at.ds, query_block, at.dq_across, query_block, padded_width,
                  query_block, rows);
  }
  transpose_matrix(at.dq_across, padded_width, query_block, at.q, query_block, padded_width);
  write_rows(a.dq, row, head, width, block.count, at.q, padded_width, a.scale);
}

// A head of a sequence; the task's next heads go up to last_head.
void backward_head(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t last_head,
                   int64_t width, const Scratch& at) {
  const int64_t padded_width = rounded_up(width, lanes), padded_keys = rounded_up(span.keys, row_padding);
  read_rows(a.k, span.key_begin, head, width, span.keys, at.keys, padded_keys, padded_width);
  read_rows(a.v, span.key_begin, head, width, span.keys, at.values, padded_keys, padded_width);
  std::fill_n(at.dkeys, padded_keys * padded_width, 0.0f);
  std::fill_n(at.dvalues, padded_keys * padded_width, 0.0f);
  const int64_t blocks = (span.queries + query_block - 1) / query_block;
  with_flag(a.dropout.rate > 0, [&](auto drops) {
    for (int64_t i = 0; i < blocks; ++i) {
      const QueryBlock block(span, i * query_block, a.causal, a.dropout, a.heads, head);
      const int64_t row = span.query_begin + block.first;
      prefetch_rows(a.dq, row, head, width, block.count);
      for (const Columns* part : {&a.dk, &a.dv})
        prefetch_rows(*part, span.key_begin, head, width, span.keys, i, blocks);
      if (i + 1 < blocks) {
        const int64_t count = std::min(query_block, span.queries - block.first - query_block);
        for (const Columns& part : {a.q, Columns(a.dy), Columns(a.y)})
          prefetch_rows(part, row + query_block, head, width, count);
      }
      if (head + 1 < last_head) {
        for (const Columns* part : {&a.k, &a.v})
          prefetch_rows(*part, span.key_begin, head + 1, width, span.keys, i, blocks);
        if (i + 1 == blocks)
          for (const Columns& part : {a.q, Columns(a.dy), Columns(a.y)})
            prefetch_rows(part, span.query_begin, head + 1, width, std::min(query_block, span.queries));
      }
      backward_block<drops.value>(a, span, head, width, block, at);
    }
  });
  write_rows(a.dk, span.key_begin, head, width, span.keys, at.dkeys, padded_width, a.scale);
  write_rows(a.dv, span.key_begin, head, width, span.keys, at.dvalues, padded_width);
}

}  // namespace

void CpuOps::attention_backward(const AttentionBackwardArgs& a) {
  const int64_t width = check_attention(a);
  if (runs_on_amx(a)) return attention_backward_amx(a, width, workspace_);
  const int64_t longest = longest_segment(a.keys), padded_width = rounded_up(width, lanes);
  const ArenaScope scope(workspace_);
  const int64_t size = rounded_up(Scratch::size(longest, padded_width), 16);
  float* memory = workspace_.make(DType::f32, {thread_count(), size}).as<float>();
  const int64_t grain = heads_a_task(a.queries, a.keys, a.heads), groups = (a.heads + grain - 1) / grain;
  parallel_for(a.queries.count() * groups, [&](int64_t task) {
    const Scratch scratch(memory + thread_index() * size, longest, padded_width);
    const AttentionSpan span = span_of(a.queries, a.keys, task / groups);
    const int64_t first_head = task % groups * grain, last_head = std::min<int64_t>(first_head + grain, a.heads);
    for (int64_t head = first_head; head < last_head; ++head) backward_head(a, span, head, last_head, width, scratch);
  });
}

}  // namespace engine::ENGINE_ISA
