// Forward attention on bf16. It is as attention/cpu/forward.cc, with products of bf16 and probabilities in bf16.
#include "kernels/attention/cpu/bf16_tile.h"
#include "kernels/attention/cpu/driver.h"
#include "kernels/attention/cpu/short_attention.h"
#include "kernels/cpu/bf16_operations.h"

namespace engine::ENGINE_ISA {
namespace {

void scale_columns(float* y, int64_t rows, vfloat factor) {
  for (int64_t d = 0; d < rows; ++d) store(y + d * query_block, load(y + d * query_block) * factor);
}

// A thread's memory.
struct ForwardTiles : TileKernel {
  bf16 *keys, *values;  // [padded keys][padded width]
  bf16* values_across;  // [tile][padded width][key_tile]
  bf16* queries;        // [query_block][padded width]
  uint32_t* q;          // [padded width/2][query_block]
  uint32_t* p;          // [key_tile/2][query_block]
  uint32_t* pairs;      // [key_tile/2][padded width]
  float* scores;        // [key_tile][query_block]
  float *y, *rows;      // [padded width][query_block], [query_block][padded width]
  ShortForward together[ShortForward::most_together];

  ForwardTiles(ThreadMemory& of, int64_t longest, int64_t padded_width) {
    for (bf16** part : {&keys, &values}) *part = of.take<bf16>(rounded_up(longest, row_padding) * padded_width);
    values_across = of.take<bf16>(rounded_up(longest, key_tile) * padded_width);
    queries = of.take<bf16>(query_block * padded_width);
    q = of.take<uint32_t>(padded_width / 2 * query_block);
    p = of.take<uint32_t>(key_tile / 2 * query_block);
    pairs = of.take<uint32_t>(key_tile / 2 * padded_width);
    scores = of.take<float>(key_tile * query_block);
    y = of.take<float>(padded_width * query_block);
    rows = of.take<float>(query_block * padded_width);
    for (int64_t i = 0; i < heads_together(padded_width, ShortForward::most_together); ++i)
      together[i] = ShortForward(of, padded_width);
  }
  bool take_short(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t first_head, int64_t last_head,
                  int64_t width) const {
    if (!is_short(span, width)) return false;
    short_attention_forward(a, span, first_head, last_head, width, together);
    return true;
  }
};

void read_keys(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width, int64_t visible,
               const ForwardTiles& at) {
  read_keys_and_values(a, span, head, width, visible, at);
  tiles_across(at.values, rounded_up(visible, at.row_padding), rounded_up(width, at.width_padding), at.values_across,
               at.pairs);
}

template <bool drops>
void forward_block(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const ForwardTiles& at, FetchAhead<>& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), row = span.query_begin + block.first;
  const int64_t queries = block.vectors * lanes;
  read_rows(a.q, row, head, width, block.count, at.queries, queries, padded_width);
  words_across(at.queries, queries, padded_width, at.q, query_block);
  const DropoutTile dropout{a.dropout};
  RunningSoftmax running[block_vectors];
  if (!block.visible) std::fill_n(at.y, padded_width * query_block, 0.0f);
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const TileSizes keys(std::min(key_tile, block.visible - first));
    tile_product<false>(at.keys + first * padded_width, padded_width, at.q, query_block, at.scores, query_block,
                        keys.rows, queries, padded_width);
    for (int v = 0; v < block.vectors; ++v) {
      uint32_t* words = at.p + v * lanes;
      const vfloat correction = softmax_step<drops>(
          at.scores, keys.fours, first, a.scale, block, v, dropout, running[v], [&](int64_t j, const vfloat(&p)[4]) {
            ahead.some();
            store_words(words + j / 2 * query_block, interleaved(rounded(p[0], p[1])));
            store_words(words + (j / 2 + 1) * query_block, interleaved(rounded(p[2], p[3])));
          });
      for (int64_t j = keys.fours / 2; j < keys.depth / 2; ++j) store_words(words + j * query_block, vbf16_pair{});
      if (first) scale_columns(at.y + v * lanes, padded_width, correction);
    }
    const bf16* values = at.values_across + first * padded_width;
    if (first)
      tile_product<true>(values, key_tile, at.p, query_block, at.y, query_block, padded_width, queries, keys.depth);
    else tile_product<false>(values, key_tile, at.p, query_block, at.y, query_block, padded_width, queries, keys.depth);
  }
  for (int v = 0; v < block.vectors; ++v) {
    float* lse = a.lse ? a.lse.as<float>() + (row + v * lanes) * a.heads + head : nullptr;
    scale_columns(at.y + v * lanes, padded_width, finish_softmax(running[v], lse, a.heads, block.count - v * lanes));
  }
  transpose_matrix(at.y, padded_width, queries, at.rows, query_block, padded_width);
  write_rows(a.y, row, head, width, block.count, at.rows, padded_width);
}

}  // namespace

void bf16_attention_forward(const AttentionForwardArgs& a, int64_t width, Arena& workspace) {
  drive_forward<ForwardTiles>(a, width, workspace);
}

}  // namespace engine::ENGINE_ISA
