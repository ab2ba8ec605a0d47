// Backward attention on bf16. It is as attention/cpu/backward.cc, with products of bf16. Probabilities and the
// gradients of scores are rounded to bf16 as operands, and all sums are f32.
#include "kernels/attention/cpu/bf16_tile.h"
#include "kernels/attention/cpu/few_bf16.h"
#include "kernels/attention/cpu/short_attention.h"
#include "kernels/cpu/bf16_operations.h"

namespace engine::ENGINE_ISA {
namespace {

// Stores two rows of a left operand, query_block apart.
ENGINE_INLINE void store_rows(bf16* to, vbf16_pair both) {
  const vshort first = __builtin_shufflevector(both, both, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const vshort second =
      __builtin_shufflevector(both, both, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
  std::memcpy(static_cast<void*>(to), &first, sizeof first);
  std::memcpy(static_cast<void*>(to + query_block), &second, sizeof second);
}

// A thread's memory.
struct BackwardTiles : TileKernel {
  struct State {
    uint32_t *q_across, *dy_across;  // [padded width/2][query_block]
    uint32_t *q_pairs, *dy_pairs;    // [query_block/2][padded width]
    float* dq;                       // [padded width][query_block]
    float *delta, *lse;              // [query_block]
  };

  bf16 *keys, *values;             // [padded keys][padded width]
  bf16* keys_across;               // [tile][padded width][key_tile]
  float *dkeys, *dvalues;          // [padded keys][padded width]
  bf16 *q, *dy;                    // [query_block][padded width]
  float *scores, *dp;              // [key_tile][query_block]
  bf16 *p, *ds;                    // [key_tile][query_block]
  uint32_t* ds_pairs;              // [key_tile/2][query_block]
  uint32_t* pairs;                 // [key_tile/2][padded width]
  float *dy_rows, *rows;           // [query_block][padded width]
  State states[1];
  FewBackward few;
  ShortBackward together[ShortBackward::most_together];

  BackwardTiles(ThreadMemory& of, int64_t longest, int64_t padded_width) : few(of, padded_width) {
    const int64_t padded = rounded_up(longest, row_padding);
    for (bf16** part : {&keys, &values}) *part = of.take<bf16>(padded * padded_width);
    keys_across = of.take<bf16>(rounded_up(longest, key_tile) * padded_width);
    for (float** part : {&dkeys, &dvalues}) *part = of.take<float>(padded * padded_width);
    for (bf16** part : {&q, &dy}) *part = of.take<bf16>(query_block * padded_width);
    for (float** part : {&scores, &dp}) *part = of.take<float>(key_tile * query_block);
    for (bf16** part : {&p, &ds}) *part = of.take<bf16>(key_tile * query_block);
    ds_pairs = of.take<uint32_t>(key_tile / 2 * query_block);
    pairs = of.take<uint32_t>(key_tile / 2 * padded_width);
    for (float** part : {&dy_rows, &rows}) *part = of.take<float>(query_block * padded_width);
    for (State& state : states) {
      for (uint32_t** part : {&state.q_across, &state.dy_across, &state.q_pairs, &state.dy_pairs})
        *part = of.take<uint32_t>(query_block / 2 * padded_width);
      state.dq = of.take<float>(query_block * padded_width);
      for (float** part : {&state.delta, &state.lse}) *part = of.take<float>(query_block);
    }
    for (int64_t i = 0; i < heads_together(padded_width, ShortBackward::most_together); ++i)
      together[i] = ShortBackward(of, padded_width);
  }
  bool take_short(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t first_head, int64_t last_head,
                  int64_t width) const {
    if (!is_short(span, width) || a.dy.dtype != DType::bf16 || a.adds_to_keys) return false;
    short_attention_backward(a, span, first_head, last_head, width, together);
    return true;
  }
};

void read_keys(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width, KeyTile tile,
               const BackwardTiles& at) {
  read_keys_and_values(a, span, head, width, tile, at);
  tiles_across(at.keys, rounded_up(tile.count, at.row_padding), rounded_up(width, at.width_padding), at.keys_across,
               at.pairs);
}

// The queries' number, in whole vectors, as the depth of a product.
int64_t tile_depth(const QueryBlock& block) { return std::max<int64_t>(block.vectors * lanes, least_depth); }

void begin_queries(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                   const QueryBlock& block, const BackwardTiles& at, const BackwardTiles::State& state) {
  const int64_t padded_width = rounded_up(width, at.width_padding), row = span.query_begin + block.first;
  const int64_t queries = block.vectors * lanes, depth = tile_depth(block);
  read_rows(a.q, row, head, width, block.count, at.q, queries, padded_width);
  read_rows(a.dy, row, head, width, block.count, at.dy, queries, padded_width);
  words_across(at.q, padded_width, queries, padded_width, state.q_across, query_block);
  words_across(at.dy, padded_width, queries, padded_width, state.dy_across, query_block);
  for (const auto& [rows, pairs] : {std::pair{at.q, state.q_pairs}, {at.dy, state.dy_pairs}}) {
    pairs_of_rows(rows, padded_width, queries, padded_width, pairs);
    std::fill(pairs + queries / 2 * padded_width, pairs + depth / 2 * padded_width, 0u);
  }
  read_rows(a.dy, row, head, width, block.count, at.dy_rows, queries, padded_width);
  read_rows(a.y, row, head, width, block.count, at.rows, queries, padded_width);
  row_dots(at.dy_rows, at.rows, queries, padded_width, state.delta);
  read_lse(a, row, head, block.count, state.lse);
  if (!block.visible) std::fill_n(state.dq, padded_width * query_block, 0.0f);
}

template <bool drops, class Ahead>
void take_keys(const AttentionBackwardArgs& a, const AttentionSpan&, int64_t, int64_t width,
               const QueryBlock& block, KeyTile tile, const BackwardTiles& at, const BackwardTiles::State& state,
               Ahead& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), queries = block.vectors * lanes;
  const int64_t depth = tile_depth(block), offset = tile.row * padded_width;
  const TileSizes keys(tile.count);
  const DropoutTile dropout{a.dropout};
  tile_product<false>(at.keys + offset, padded_width, state.q_across, query_block, at.scores, query_block, keys.rows,
                      queries, padded_width);
  tile_product<false>(at.values + offset, padded_width, state.dy_across, query_block, at.dp, query_block, keys.rows,
                      queries, padded_width);
  for (int v = 0; v < block.vectors; ++v) {
    softmax_gradient<drops>(at.scores, at.dp, keys.fours, tile.first, a.scale, block, v, dropout,
                            load(state.lse + v * lanes), load(state.delta + v * lanes),
                            [&](int64_t j, const vfloat(&p)[4], const vfloat(&ds)[4]) {
                              ahead.some();
                              for (int w = 0; w < 4; w += 2) {
                                const int64_t to = (j + w) * query_block + v * lanes;
                                const vbf16_pair both = rounded(ds[w], ds[w + 1]);
                                store_rows(at.p + to, rounded(p[w], p[w + 1]));
                                store_rows(at.ds + to, both);
                                store_words(at.ds_pairs + (j + w) / 2 * query_block + v * lanes, interleaved(both));
                              }
                            });
    for (int64_t j = keys.fours / 2; j < keys.depth / 2; ++j)
      store_words(at.ds_pairs + j * query_block + v * lanes, vbf16_pair{});
  }
  for (int v = 0; v * lanes < depth; ++v)  // missing queries, unseen keys
    for (int64_t j = v < block.vectors ? keys.fours : 0; j < keys.rows; j += 2)
      for (bf16* part : {at.p, at.ds}) store_rows(part + j * query_block + v * lanes, vbf16_pair{});
  tile_product<true>(at.p, query_block, state.dy_pairs, padded_width, at.dvalues + offset, padded_width, keys.rows,
                     padded_width, depth);
  tile_product<true>(at.ds, query_block, state.q_pairs, padded_width, at.dkeys + offset, padded_width, keys.rows,
                     padded_width, depth);
  const bf16* across = at.keys_across + offset;
  if (tile.first)
    tile_product<true>(across, key_tile, at.ds_pairs, query_block, state.dq, query_block, padded_width, queries,
                       keys.depth);
  else
    tile_product<false>(across, key_tile, at.ds_pairs, query_block, state.dq, query_block, padded_width, queries,
                        keys.depth);
}

}  // namespace

void bf16_attention_backward(const AttentionBackwardArgs& a, int64_t width, Arena& workspace) {
  drive_backward<BackwardTiles>(a, width, workspace);
}

}  // namespace engine::ENGINE_ISA
