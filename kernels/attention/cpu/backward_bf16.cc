// Backward attention on bf16. It is as attention/cpu/backward.cc, with products of bf16. Probabilities and the
// gradients of scores are rounded to bf16 as operands, and all sums are f32.
#include "kernels/attention/cpu/bf16_tile.h"
#include "kernels/attention/cpu/driver.h"
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
  bf16 *keys, *values;             // [padded keys][padded width]
  bf16* keys_across;               // [tile][padded width][key_tile]
  float *dkeys, *dvalues;          // [padded keys][padded width]
  bf16 *q, *dy;                    // [query_block][padded width]
  uint32_t *q_across, *dy_across;  // [padded width/2][query_block]
  uint32_t *q_pairs, *dy_pairs;    // [query_block/2][padded width]
  float *scores, *dp;              // [key_tile][query_block]
  bf16 *p, *ds;                    // [key_tile][query_block]
  uint32_t* ds_pairs;              // [key_tile/2][query_block]
  uint32_t* pairs;                 // [key_tile/2][padded width]
  float* dq;                       // [padded width][query_block]
  float *dy_rows, *y_rows;         // [query_block][padded width]
  ShortBackward together[ShortBackward::most_together];

  BackwardTiles(ThreadMemory& of, int64_t longest, int64_t padded_width) {
    const int64_t rows = rounded_up(longest, row_padding);
    for (bf16** part : {&keys, &values}) *part = of.take<bf16>(rows * padded_width);
    keys_across = of.take<bf16>(rounded_up(longest, key_tile) * padded_width);
    for (float** part : {&dkeys, &dvalues}) *part = of.take<float>(rows * padded_width);
    for (bf16** part : {&q, &dy}) *part = of.take<bf16>(query_block * padded_width);
    for (uint32_t** part : {&q_across, &dy_across, &q_pairs, &dy_pairs})
      *part = of.take<uint32_t>(query_block / 2 * padded_width);
    for (float** part : {&scores, &dp}) *part = of.take<float>(key_tile * query_block);
    for (bf16** part : {&p, &ds}) *part = of.take<bf16>(key_tile * query_block);
    ds_pairs = of.take<uint32_t>(key_tile / 2 * query_block);
    pairs = of.take<uint32_t>(key_tile / 2 * padded_width);
    for (float** part : {&dq, &dy_rows, &y_rows}) *part = of.take<float>(query_block * padded_width);
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

void read_keys(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
               const BackwardTiles& at) {
  read_keys_and_values(a, span, head, width, span.keys, at);
  tiles_across(at.keys, rounded_up(span.keys, at.row_padding), rounded_up(width, at.width_padding), at.keys_across,
               at.pairs);
}

template <bool drops>
void backward_block(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                    const QueryBlock& block, const BackwardTiles& at, FetchAhead<>& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), row = span.query_begin + block.first;
  const int64_t queries = block.vectors * lanes, depth = std::max(queries, least_depth);
  read_rows(a.q, row, head, width, block.count, at.q, queries, padded_width);
  read_rows(a.dy, row, head, width, block.count, at.dy, queries, padded_width);
  words_across(at.q, queries, padded_width, at.q_across, query_block);
  words_across(at.dy, queries, padded_width, at.dy_across, query_block);
  for (const auto& [rows, pairs] : {std::pair{at.q, at.q_pairs}, {at.dy, at.dy_pairs}}) {
    pairs_of_rows(rows, queries, padded_width, pairs);
    std::fill(pairs + queries / 2 * padded_width, pairs + depth / 2 * padded_width, 0u);
  }
  read_rows(a.dy, row, head, width, block.count, at.dy_rows, queries, padded_width);
  read_rows(a.y, row, head, width, block.count, at.y_rows, queries, padded_width);
  float delta[query_block], lse[query_block] = {};
  row_dots(at.dy_rows, at.y_rows, queries, padded_width, delta);
  for (int64_t i = 0; i < block.count; ++i) lse[i] = a.lse.as<float>()[(row + i) * a.heads + head];
  if (!block.visible) std::fill_n(at.dq, padded_width * query_block, 0.0f);
  const DropoutTile dropout{a.dropout};
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const TileSizes keys(std::min(key_tile, block.visible - first));
    const int64_t offset = first * padded_width;
    tile_product<false>(at.keys + offset, padded_width, at.q_across, query_block, at.scores, query_block, keys.rows,
                        queries, padded_width);
    tile_product<false>(at.values + offset, padded_width, at.dy_across, query_block, at.dp, query_block, keys.rows,
                        queries, padded_width);
    for (int v = 0; v < block.vectors; ++v) {
      softmax_gradient<drops>(at.scores, at.dp, keys.fours, first, a.scale, block, v, dropout, load(lse + v * lanes),
                              load(delta + v * lanes), [&](int64_t j, const vfloat(&p)[4], const vfloat(&ds)[4]) {
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
    tile_product<true>(at.p, query_block, at.dy_pairs, padded_width, at.dvalues + offset, padded_width, keys.rows,
                       padded_width, depth);
    tile_product<true>(at.ds, query_block, at.q_pairs, padded_width, at.dkeys + offset, padded_width, keys.rows,
                       padded_width, depth);
    if (first)
      tile_product<true>(at.keys_across + offset, key_tile, at.ds_pairs, query_block, at.dq, query_block, padded_width,
                         queries, keys.depth);
    else
      tile_product<false>(at.keys_across, key_tile, at.ds_pairs, query_block, at.dq, query_block, padded_width, queries,
                          keys.depth);
  }
  transpose_matrix(at.dq, padded_width, queries, at.y_rows, query_block, padded_width);
  write_rows(a.dq, row, head, width, block.count, at.y_rows, padded_width, a.scale);
}

}  // namespace

void bf16_attention_backward(const AttentionBackwardArgs& a, int64_t width, Arena& workspace) {
  drive_backward<BackwardTiles>(a, width, workspace);
}

}  // namespace engine::ENGINE_ISA
