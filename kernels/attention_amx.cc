// Forward attention on bf16: as attention_cpu.cc, with its products in tile registers and probabilities in bf16.
#include "kernels/attention_amx.h"

#include "core/parallel.h"
#include "kernels/attention_amx_tile.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t blocks_a_task = 8;  // that share one reading of the keys

struct Scratch {
  bf16 *keys, *values;  // [padded keys][padded width]
  bf16* values_across;  // [tile][padded width][key_tile]
  bf16* queries;        // [query_block][padded width]
  uint32_t* q;          // [padded width/2][query_block]
  uint32_t* p;          // [key_tile/2][query_block]
  uint32_t* pairs;      // [key_tile/2][padded width]
  float* scores;        // [key_tile][query_block]
  float *y, *rows;      // [padded width][query_block], [query_block][padded width]
  char* end;

  Scratch(char* memory, int64_t longest, int64_t padded_width) {
    ThreadMemory of(memory);
    keys = of.take<bf16>(rounded_up(longest, 32) * padded_width);
    values = of.take<bf16>(rounded_up(longest, 32) * padded_width);
    values_across = of.take<bf16>(rounded_up(longest, key_tile) * padded_width);
    queries = of.take<bf16>(query_block * padded_width);
    q = of.take<uint32_t>(padded_width / 2 * query_block);
    p = of.take<uint32_t>(key_tile / 2 * query_block);
    pairs = of.take<uint32_t>(key_tile / 2 * padded_width);
    scores = of.take<float>(key_tile * query_block);
    y = of.take<float>(padded_width * query_block);
    rows = of.take<float>(query_block * padded_width);
    end = of.next();
  }
};

void scale_columns(float* y, int64_t rows, vfloat factor) {
  for (int64_t d = 0; d < rows; ++d) store(y + d * query_block, load(y + d * query_block) * factor);
}

template <bool drops>
void forward_block(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const Scratch& at) {
  const int64_t padded_width = rounded_up(width, 32), row = span.query_begin + block.first;
  read_rows(a.q, row, head, width, block.count, at.queries, query_block, padded_width);
  words_across(at.queries, query_block, padded_width, at.q, query_block);
  const DropoutTile dropout{a.dropout};
  RunningSoftmax running[block_vectors];
  if (!block.visible) std::fill_n(at.y, padded_width * query_block, 0.0f);
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const int64_t rows = rounded_up(std::min(key_tile, block.visible - first), 32);
    tile_product<false>(at.keys + first * padded_width, padded_width, at.q, query_block, at.scores, query_block, rows,
                        query_block, padded_width);
    for (int v = 0; v < block_vectors; ++v) {
      uint32_t* words = at.p + v * lanes;
      const vfloat correction = softmax_step<drops>(
          at.scores, rows, first, a.scale, block, v, dropout, running[v], [&](int64_t j, const vfloat(&p)[4]) {
            store_words(words + j / 2 * query_block, interleaved(rounded(p[0], p[1])));
            store_words(words + (j / 2 + 1) * query_block, interleaved(rounded(p[2], p[3])));
          });
      if (first) scale_columns(at.y + v * lanes, padded_width, correction);
    }
    const bf16* values = at.values_across + first * padded_width;
    if (first)
      tile_product<true>(values, key_tile, at.p, query_block, at.y, query_block, padded_width, query_block, rows);
    else tile_product<false>(values, key_tile, at.p, query_block, at.y, query_block, padded_width, query_block, rows);
  }
  for (int v = 0; v < block_vectors; ++v) {
    float* lse = a.lse ? a.lse.as<float>() + (row + v * lanes) * a.heads + head : nullptr;
    scale_columns(at.y + v * lanes, padded_width, finish_softmax(running[v], lse, a.heads, block.count - v * lanes));
  }
  transpose_matrix(at.y, padded_width, query_block, at.rows, query_block, padded_width);
  write_rows(a.y, row, head, width, block.count, at.rows, padded_width);
}

// Queries begin ... end - 1 of a sequence and head; the task's next heads go up to last_head.
void forward_queries(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t last_head,
                     int64_t width, int64_t begin, int64_t end, const Scratch& at) {
  const int64_t padded_width = rounded_up(width, 32), visible = span.visible(end - 1, a.causal);
  const int64_t padded_keys = rounded_up(visible, 32);
  read_rows(a.k, span.key_begin, head, width, visible, at.keys, padded_keys, padded_width);
  read_rows(a.v, span.key_begin, head, width, visible, at.values, padded_keys, padded_width);
  tiles_across(at.values, padded_keys, padded_width, at.values_across, at.pairs);
  const TileRegisters registers;
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
      forward_block<drops.value>(a, span, head, width, block, at);
    }
  });
}

}  // namespace

void attention_forward_amx(const AttentionForwardArgs& a, int64_t width, Arena& workspace) {
  const int64_t longest = longest_segment(a.keys), padded_width = rounded_up(width, 32);
  const int64_t queries_a_task = blocks_a_task * query_block;
  const int64_t tasks_a_head = (longest_segment(a.queries) + queries_a_task - 1) / queries_a_task;
  const ArenaScope scope(workspace);
  const int64_t size = Scratch(nullptr, longest, padded_width).end - static_cast<char*>(nullptr);
  char* memory = static_cast<char*>(workspace.make(DType::u8, {thread_count(), size}).data);
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
