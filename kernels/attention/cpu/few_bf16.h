// Backward attention of few queries over many keys on bf16, tile by tile (FewQueries). Queries lie in rows and a tile's
// keys in the lanes of vectors, so that no lane computes a query that is not there. Gradients of keys that are added to
// are summed where they lie.
#pragma once

#include "kernels/attention/cpu/bf16_tile.h"
#include "kernels/attention/cpu/driver.h"

namespace engine::ENGINE_ISA {

static_assert(few_keys == 2 * lanes);

// Returns how many rows a product takes for the queries of a block.
inline int64_t product_rows(const QueryBlock& block) { return rounded_up(block.count, row_step); }

// Calls body(query, sees) for the queries of a block and the tile from key `first` on. sees(w, v, other) is v where the
// query sees the tile's key of the lane, w = 0 or 1 being the vector, else `other`.
template <class Body>
ENGINE_INLINE void each_query(const QueryBlock& block, int64_t first, const Body& body) {
  const auto each = [&](auto masked) __attribute__((always_inline)) {
    for (int64_t i = 0; i < block.count; ++i) {
      const int32_t seen = block.part[i / lanes].visible[i % lanes] - static_cast<int32_t>(first);
      body(i, [&](int w, vfloat v, vfloat other) __attribute__((always_inline)) {
        if constexpr (masked.value) return lane_numbers() + w * lanes < seen ? v : other;
        else return v;
      });
    }
  };
  with_flag(block.visible_to_all - first < few_keys, each);
}

// Returns the dropout's element of a query's first key.
inline int64_t first_element(const QueryBlock& block, int64_t query) {
  const QueryLanes& part = block.part[query / lanes];
  return static_cast<int64_t>(uint64_t{part.block_high[query % lanes]} << 32 | part.block_low[query % lanes]) << 2;
}

// Rows of a head's keys or values.
struct KeyRows {
  const bf16* at;
  int64_t stride;
};

// Returns a tile's rows where they lie, if they are bf16 and need no padding, else a copy with zeros behind it.
inline KeyRows rows_of(const Columns& columns, const AttentionSpan& span, int64_t head, int64_t width, KeyTile tile,
                       bf16* copy) {
  const int64_t row = span.key_begin + tile.first, padded_width = rounded_up(width, TileKernel::width_padding);
  if (columns.matrix.dtype == DType::bf16 && tile.count == few_keys && width == padded_width) {
    const int64_t stride = columns.matrix.cols();
    return {columns.matrix.as<bf16>() + row * stride + columns.begin + head * width, stride};
  }
  read_rows(columns, row, head, width, tile.count, copy, few_keys, padded_width);
  return {copy, padded_width};
}

struct FewBackward : TileKernel {
  struct State {
    bf16 *q, *dy;                  // [query_block][padded width]
    uint32_t *q_pairs, *dy_pairs;  // [query_block/2][padded width]
    float* dq;                     // as q
    float *delta, *lse;            // [query_block]
  };

  bf16* key_rows;                         // [few_keys][padded width]
  uint32_t *keys_across, *values_across;  // [padded width/2][few_keys]
  uint32_t* key_pairs;                    // [few_keys/2][padded width]
  float *dkeys, *dvalues;                 // [few_keys][padded width]
  float *scores, *dp;                     // [query_block][few_keys]
  bf16* ds;                               // as scores
  uint32_t *p_pairs, *ds_pairs;           // [query_block/2][few_keys]
  float *dy_rows, *rows;                  // [query_block][padded width]
  State states[most_states];

  FewBackward(ThreadMemory& of, int64_t padded_width) {
    key_rows = of.take<bf16>(few_keys * padded_width);
    for (uint32_t** part : {&keys_across, &values_across, &key_pairs})
      *part = of.take<uint32_t>(few_keys / 2 * padded_width);
    for (float** part : {&dkeys, &dvalues}) *part = of.take<float>(few_keys * padded_width);
    for (float** part : {&scores, &dp}) *part = of.take<float>(query_block * few_keys);
    ds = of.take<bf16>(query_block * few_keys);
    for (uint32_t** part : {&p_pairs, &ds_pairs}) *part = of.take<uint32_t>(query_block / 2 * few_keys);
    for (float** part : {&dy_rows, &rows}) *part = of.take<float>(query_block * padded_width);
    for (State& state : states) {
      for (bf16** part : {&state.q, &state.dy}) *part = of.take<bf16>(query_block * padded_width);
      for (uint32_t** part : {&state.q_pairs, &state.dy_pairs})
        *part = of.take<uint32_t>(query_block / 2 * padded_width);
      state.dq = of.take<float>(query_block * padded_width);
      for (float** part : {&state.delta, &state.lse}) *part = of.take<float>(query_block);
    }
  }
};

inline void read_keys(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                      KeyTile tile, const FewBackward& at) {
  const int64_t padded_width = rounded_up(width, at.width_padding);
  const KeyRows keys = rows_of(a.k, span, head, width, tile, at.key_rows);
  words_across(keys.at, keys.stride, few_keys, padded_width, at.keys_across, few_keys);
  pairs_of_rows(keys.at, keys.stride, few_keys, padded_width, at.key_pairs);
  const KeyRows values = rows_of(a.v, span, head, width, tile, at.key_rows);
  words_across(values.at, values.stride, few_keys, padded_width, at.values_across, few_keys);
}

// Tells whether a tile's gradients are added to where they lie.
inline bool adds_in_place(const AttentionBackwardArgs& a, int64_t width, KeyTile tile) {
  return a.adds_to_keys && tile.count == few_keys && width % TileKernel::width_padding == 0;
}
inline void clear_key_gradients(const AttentionBackwardArgs& a, int64_t width, KeyTile tile, const FewBackward& at) {
  if (!adds_in_place(a, width, tile)) clear_key_gradients<FewBackward>(a, width, tile, at);
}
inline void write_key_gradients(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                                KeyTile tile, const FewBackward& at) {
  if (!adds_in_place(a, width, tile)) write_key_sums(a, span, head, width, tile, at, /*key_factor=*/1);
}

// The queries' number as the depth of an across_product.
inline int64_t depth_of(const QueryBlock& block) { return rounded_up(block.count, across_step); }

inline void begin_queries(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                          const QueryBlock& block, const FewBackward& at, const FewBackward::State& state) {
  const int64_t padded_width = rounded_up(width, at.width_padding), row = span.query_begin + block.first;
  const int64_t queries = block.vectors * lanes, padded = std::max(product_rows(block), depth_of(block));
  for (const auto& [from, rows, pairs] :
       {std::tuple{a.q, state.q, state.q_pairs}, {Columns(a.dy), state.dy, state.dy_pairs}}) {
    read_rows(from, row, head, width, block.count, rows, padded, padded_width);
    pairs_of_rows(rows, padded_width, padded, padded_width, pairs);
  }
  read_rows(a.dy, row, head, width, block.count, at.dy_rows, queries, padded_width);
  read_rows(a.y, row, head, width, block.count, at.rows, queries, padded_width);
  row_dots(at.dy_rows, at.rows, queries, padded_width, state.delta);
  read_lse(a, row, head, block.count, state.lse);
  if (!block.visible) std::fill_n(state.dq, block.count * padded_width, 0.0f);
}

template <bool drops, class Ahead>
void take_keys(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
               const QueryBlock& block, KeyTile tile, const FewBackward& at, const FewBackward::State& state,
               Ahead& ahead) {
  const int64_t padded_width = rounded_up(width, at.width_padding), rows = product_rows(block), first = tile.first;
  const int64_t depth = depth_of(block);
  const float scale = a.scale * scores_to_log2;
  DropoutFactors factors(a.dropout);
  tile_product<false>(state.q, padded_width, at.keys_across, few_keys, at.scores, few_keys, rows, few_keys,
                      padded_width);
  tile_product<false>(state.dy, padded_width, at.values_across, few_keys, at.dp, few_keys, rows, few_keys,
                      padded_width);
  vfloat p_above[2], ds_above[2];  // of the query before, the first of a pair
  const auto store_pair = [&](int64_t pair, const vfloat(&p)[2], const vfloat(&ds)[2]) __attribute__((always_inline)) {
    for (int w = 0; w < 2; ++w) {
      store_words(at.p_pairs + pair * few_keys + w * lanes, interleaved(rounded(p_above[w], p[w])));
      store_words(at.ds_pairs + pair * few_keys + w * lanes, interleaved(rounded(ds_above[w], ds[w])));
    }
  };
  each_query(block, first, [&](int64_t i, const auto& sees) __attribute__((always_inline)) {
    ahead.some();
    // A query that sees nothing has lse = -infinity, and all its keys are masked.
    const float lse = state.lse[i];
    const vfloat shift = splat(lse == -std::numeric_limits<float>::infinity() ? 0 : lse * scores_to_log2);
    vfloat p[2], ds[2];
    for (int w = 0; w < 2; ++w) {
      const int64_t from = i * few_keys + w * lanes;
      p[w] = sees(w, exp2(load(at.scores + from) * scale - shift), vfloat{});
      vfloat gradient = load(at.dp + from), factor{};
      if constexpr (drops) {
        factor = factors.at(first_element(block, i) + first + w * lanes);
        gradient *= factor;
      }
      ds[w] = p[w] * (gradient - splat(state.delta[i])) * a.scale;
      if constexpr (drops) p[w] *= factor;
    }
    const vbf16_pair both = rounded(ds[0], ds[1]);
    std::memcpy(static_cast<void*>(at.ds + i * few_keys), &both, sizeof both);
    if (i % 2) store_pair(i / 2, p, ds);
    for (int w = 0; w < 2; ++w) p_above[w] = p[w], ds_above[w] = ds[w];
  });
  const vfloat none[2] = {};
  if (block.count % 2) store_pair(block.count / 2, none, none);
  for (uint32_t* pairs : {at.p_pairs, at.ds_pairs})
    std::fill(pairs + ceil_div(block.count, int64_t{2}) * few_keys, pairs + depth / 2 * few_keys, 0u);
  const auto add = [&](const uint32_t* left, const uint32_t* right, const Columns& gradient, float* sums) {
    int64_t stride = padded_width;
    if (adds_in_place(a, width, KeyTile{first, std::min(few_keys, span.keys - first), 0})) {
      stride = gradient.matrix.cols();
      sums = gradient.matrix.as<float>() + (span.key_begin + first) * stride + gradient.begin + head * width;
    }
    across_product(left, few_keys, right, padded_width, sums, stride, few_keys, padded_width, depth);
  };
  add(at.p_pairs, state.dy_pairs, a.dv, at.dvalues);
  add(at.ds_pairs, state.q_pairs, a.dk, at.dkeys);
  if (first)
    tile_product<true>(at.ds, few_keys, at.key_pairs, padded_width, state.dq, padded_width, rows, padded_width,
                       few_keys);
  else
    tile_product<false>(at.ds, few_keys, at.key_pairs, padded_width, state.dq, padded_width, rows, padded_width,
                        few_keys);
}

inline void end_queries(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                        const QueryBlock& block, const FewBackward& at, const FewBackward::State& state) {
  write_rows(a.dq, span.query_begin + block.first, head, width, block.count, state.dq,
             rounded_up(width, at.width_padding));
}

}  // namespace engine::ENGINE_ISA
