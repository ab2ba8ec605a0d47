// Forward attention on bf16. It is as attention/cpu/forward.cc, with products of bf16 and probabilities in bf16.
#include "kernels/attention/cpu/bf16_tile.h"
#include "kernels/attention/cpu/driver.h"
#include "kernels/attention/cpu/short_attention.h"
#include "kernels/cpu/bf16_operations.h"

namespace engine::ENGINE_ISA {
namespace {

// A thread's memory.
struct ForwardTiles : TileKernel {
  struct State {
    uint32_t* q;              // [padded width/2][query_block]
    float* y;                 // [padded width][query_block]
    RunningSoftmax* running;  // [block_vectors]
  };

  bf16 *keys, *values;  // [padded keys][padded width]
  bf16* values_across;  // [tile][padded width][key_tile]
  bf16* queries;        // [query_block][padded width]
  uint32_t* p;          // [key_tile/2][query_block]
  uint32_t* pairs;      // [key_tile/2][padded width]
  float* scores;        // [key_tile][query_block]
  float* rows;          // [query_block][padded width]
  State states[most_states];
  ShortForward together[ShortForward::most_together];

  ForwardTiles(ThreadMemory& of, int64_t longest, int64_t padded_width) {
    for (bf16** part : {&keys, &values}) *part = of.take<bf16>(rounded_up(longest, row_padding) * padded_width);
    values_across = of.take<bf16>(rounded_up(longest, key_tile) * padded_width);
    queries = of.take<bf16>(query_block * padded_width);
    p = of.take<uint32_t>(key_tile / 2 * query_block);
    pairs = of.take<uint32_t>(key_tile / 2 * padded_width);
    scores = of.take<float>(key_tile * query_block);
    rows = of.take<float>(query_block * padded_width);
    for (State& state : states) {
      state.q = of.take<uint32_t>(padded_width / 2 * query_block);
      state.y = of.take<float>(padded_width * query_block);
      state.running = of.take<RunningSoftmax>(block_vectors);
    }
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

void read_keys(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width, KeyTile tile,
               const ForwardTiles& at) {
  read_keys_and_values(a, span, head, width, tile, at);
  tiles_across(at.values, rounded_up(tile.count, at.row_padding), rounded_up(width, at.width_padding),
               at.values_across, at.pairs);
}

void begin_queries(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const ForwardTiles& at, const ForwardTiles::State& state) {
  const int64_t padded_width = rounded_up(width, at.width_padding), queries = block.vectors * lanes;
  read_rows(a.q, span.query_begin + block.first, head, width, block.count, at.queries, queries, padded_width);
  words_across(at.queries, padded_width, queries, padded_width, state.q, query_block);
  std::fill_n(state.running, block_vectors, RunningSoftmax());
  if (!block.visible) std::fill_n(state.y, padded_width * query_block, 0.0f);
}

template <bool drops, class Ahead>
void take_keys(const AttentionForwardArgs& a, const AttentionSpan&, int64_t, int64_t width,
               const QueryBlock& block, KeyTile tile, const ForwardTiles& at, const ForwardTiles::State& state,
               Ahead& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), queries = block.vectors * lanes;
  const int64_t first = tile.first, offset = tile.row * padded_width;
  const TileSizes keys(tile.count);
  const DropoutTile dropout{a.dropout};
  tile_product<false>(at.keys + offset, padded_width, state.q, query_block, at.scores, query_block, keys.rows, queries,
                      padded_width);
  for (int v = 0; v < block.vectors; ++v) {
    uint32_t* words = at.p + v * lanes;
    const vfloat correction =
        softmax_step<drops>(at.scores, keys.fours, first, a.scale, block, v, dropout, state.running[v],
                            [&](int64_t j, const vfloat(&p)[4]) {
                              ahead.some();
                              store_words(words + j / 2 * query_block, interleaved(rounded(p[0], p[1])));
                              store_words(words + (j / 2 + 1) * query_block, interleaved(rounded(p[2], p[3])));
                            });
    for (int64_t j = keys.fours / 2; j < keys.depth / 2; ++j) store_words(words + j * query_block, vbf16_pair{});
    if (first) scale_columns(state.y + v * lanes, padded_width, correction);
  }
  const bf16* values = at.values_across + offset;
  if (first)
    tile_product<true>(values, key_tile, at.p, query_block, state.y, query_block, padded_width, queries, keys.depth);
  else
    tile_product<false>(values, key_tile, at.p, query_block, state.y, query_block, padded_width, queries, keys.depth);
}

}  // namespace

void bf16_attention_forward(const AttentionForwardArgs& a, int64_t width, Arena& workspace) {
  drive_forward<ForwardTiles>(a, width, workspace);
}

}  // namespace engine::ENGINE_ISA
