// The parts of an attention kernel that goes over the keys tile by tile, and the two orders in which they are called. A
// Kernel has
//   memory of a thread, with states[most_states], each the State of a block of queries of one head,
//   fetches(keys, vectors): how often so many vectors of queries over so many keys fetch lines ahead,
//   read_keys(a, span, head, width, tile, kernel): brings keys and values to the thread's memory; by default to `keys`
//   and `values`,
//   begin_queries(a, span, head, width, block, kernel, state), end_queries(...) and, between them, for each tile of
//   keys take_keys<drops>(a, span, head, width, block, tile, kernel, state, ahead). By default a State ends with y, or
//   with dq, [padded width][query_block].
// A Kernel without State has a take_block of its own. It may have take_short(a, span, first head, last head, width),
// which takes these heads by itself, or returns false.
#pragma once

#include <optional>
#include <type_traits>

#include "kernels/attention/cpu/tile.h"

namespace engine::ENGINE_ISA {

// Reads a head's keys and values of a tile into the kernel's memory, with zeros behind them.
template <class Args, class Kernel>
void read_keys_and_values(const Args& a, const AttentionSpan& span, int64_t head, int64_t width, KeyTile tile,
                          const Kernel& at) {
  const int64_t padded_width = rounded_up(width, Kernel::width_padding), row = span.key_begin + tile.first;
  const int64_t padded_keys = rounded_up(tile.count, Kernel::row_padding);
  read_rows(a.k, row, head, width, tile.count, at.keys + tile.row * padded_width, padded_keys, padded_width);
  read_rows(a.v, row, head, width, tile.count, at.values + tile.row * padded_width, padded_keys, padded_width);
}

template <class Args, class Kernel>
void read_keys(const Args& a, const AttentionSpan& span, int64_t head, int64_t width, KeyTile tile, const Kernel& at) {
  read_keys_and_values(a, span, head, width, tile, at);
}

// Multiplies a vector of queries of [rows][query_block].
inline void scale_columns(float* y, int64_t rows, vfloat factor) {
  for (int64_t d = 0; d < rows; ++d) store(y + d * query_block, load(y + d * query_block) * factor);
}

template <class Kernel>
void end_queries(const AttentionForwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                 const QueryBlock& block, const Kernel& at, const typename Kernel::State& state) {
  const int64_t padded_width = rounded_up(width, Kernel::width_padding), row = span.query_begin + block.first;
  for (int v = 0; v < block.vectors; ++v) {
    float* lse = a.lse ? a.lse.as<float>() + (row + v * lanes) * a.heads + head : nullptr;
    scale_columns(state.y + v * lanes, padded_width,
                  finish_softmax(state.running[v], lse, a.heads, block.count - v * lanes));
  }
  transpose_matrix(state.y, padded_width, block.vectors * lanes, at.rows, query_block, padded_width);
  write_rows(a.y, row, head, width, block.count, at.rows, padded_width);
}

template <class Kernel>
void end_queries(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                 const QueryBlock& block, const Kernel& at, const typename Kernel::State& state) {
  const int64_t padded_width = rounded_up(width, Kernel::width_padding);
  transpose_matrix(state.dq, padded_width, block.vectors * lanes, at.rows, query_block, padded_width);
  write_rows(a.dq, span.query_begin + block.first, head, width, block.count, at.rows, padded_width, a.scale);
}

// Reads the log-sum-exps of a head's queries from row `row` on, with zeros behind them.
inline void read_lse(const AttentionBackwardArgs& a, int64_t row, int64_t head, int64_t count, float* lse) {
  for (int64_t i = 0; i < query_block; ++i) lse[i] = i < count ? a.lse.as<float>()[(row + i) * a.heads + head] : 0;
}

// Begins the sums of a tile's gradients in the kernel's memory.
template <class Kernel>
void clear_key_gradients(const AttentionBackwardArgs&, int64_t width, KeyTile tile, const Kernel& at) {
  const int64_t padded_width = rounded_up(width, Kernel::width_padding);
  for (float* part : {at.dkeys, at.dvalues})
    std::fill_n(part + tile.row * padded_width, rounded_up(tile.count, Kernel::row_padding) * padded_width, 0.0f);
}

// Writes the gradients of a head's keys and values of a tile, or adds them. key_factor is what the keys' still lack.
template <class Kernel>
void write_key_sums(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                    KeyTile tile, const Kernel& at, float key_factor) {
  const int64_t padded_width = rounded_up(width, Kernel::width_padding), row = span.key_begin + tile.first;
  const int64_t offset = tile.row * padded_width;
  with_flag(a.adds_to_keys, [&](auto adds) {
    write_rows<adds.value>(a.dk, row, head, width, tile.count, at.dkeys + offset, padded_width, key_factor);
    write_rows<adds.value>(a.dv, row, head, width, tile.count, at.dvalues + offset, padded_width);
  });
}
template <class Kernel>
void write_key_gradients(const AttentionBackwardArgs& a, const AttentionSpan& span, int64_t head, int64_t width,
                         KeyTile tile, const Kernel& at) {
  write_key_sums(a, span, head, width, tile, at, a.scale);
}

// Takes a block of queries of a head whose keys have been read.
template <bool drops, class Args, class Kernel>
void take_block(const Args& a, const AttentionSpan& span, int64_t head, int64_t width, const QueryBlock& block,
                const Kernel& kernel, FetchAhead<>& ahead) {
  const auto& state = kernel.states[0];
  begin_queries(a, span, head, width, block, kernel, state);
  for (int64_t first = 0; first < block.visible; first += key_tile) {
    const KeyTile tile{first, std::min(key_tile, block.visible - first), first};
    take_keys<drops>(a, span, head, width, block, tile, kernel, state, ahead);
  }
  end_queries(a, span, head, width, block, kernel, state);
}

// Takes few queries of the heads first_head ... last_head - 1. As many heads as there are states go over the keys side
// by side, so that whole rows of keys are read, while the rows of the next tile are fetched.
template <class Args, class Kernel>
class FewQueries {
 public:
  FewQueries(const Args& a, const AttentionSpan& span, int64_t width, const Kernel& kernel)
      : a_(a), span_(span), width_(width), kernel_(kernel), blocks_(ceil_div(span.queries, query_block)) {}

  void take(int64_t first_head, int64_t last_head) {
    for (first_head_ = first_head; first_head_ < last_head; first_head_ += heads_) {
      heads_ = std::min(last_head - first_head_, most_states / blocks_);
      with_flag(a_.dropout.rate > 0, [&](auto drops) { take_heads<drops.value>(); });
    }
  }

 private:
  static constexpr bool is_backward = std::is_same_v<Args, AttentionBackwardArgs>;

  int64_t head_of(int64_t state) const { return first_head_ + state / blocks_; }
  // Returns the keys of the tile from `first` on that a block sees.
  KeyTile tile_of(int64_t state, int64_t first) const {
    return {first, std::clamp(block_[state]->visible - first, int64_t{0}, few_keys), 0};
  }
  void fetch(FetchAhead<second_cache>& ahead, int64_t first) const {
    const auto add = [&](const Columns& part) {
      add_rows(ahead, part, span_.key_begin, first_head_ * width_, heads_ * width_, first,
               std::min(first + few_keys, span_.keys));
    };
    add(a_.k), add(a_.v);
    if constexpr (is_backward) add(a_.dk), add(a_.dv);
  }

  template <bool drops>
  void take_heads() {
    FetchAhead<second_cache> first_tile;
    fetch(first_tile, 0);
    first_tile.set_calls(heads_ * blocks_);
    for (int64_t i = 0; i < heads_ * blocks_; ++i) {
      first_tile.some();
      block_[i].emplace(span_, i % blocks_ * query_block, a_.causal, a_.dropout, a_.heads, head_of(i));
      begin_queries(a_, span_, head_of(i), width_, *block_[i], kernel_, kernel_.states[i]);
    }
    for (int64_t first = 0; first < span_.keys; first += few_keys) take_tile<drops>(first);
    for (int64_t i = 0; i < heads_ * blocks_; ++i)
      end_queries(a_, span_, head_of(i), width_, *block_[i], kernel_, kernel_.states[i]);
  }

  template <bool drops>
  void take_tile(int64_t first) {
    const KeyTile tile{first, std::min(few_keys, span_.keys - first), 0};
    FetchAhead<second_cache> ahead;
    fetch(ahead, first + few_keys);
    int64_t calls = 0;
    for (int64_t i = 0; i < heads_ * blocks_; ++i)
      calls += Kernel::fetches(tile_of(i, first).count, block_[i]->vectors);
    ahead.set_calls(calls);
    for (int64_t head = first_head_; head < first_head_ + heads_; ++head) {
      read_keys(a_, span_, head, width_, tile, kernel_);
      if constexpr (is_backward) clear_key_gradients(a_, width_, tile, kernel_);
      const int64_t state = (head - first_head_) * blocks_;
      for (int64_t i = state; i < state + blocks_; ++i)
        if (const KeyTile seen = tile_of(i, first); seen.count > 0)
          take_keys<drops>(a_, span_, head, width_, *block_[i], seen, kernel_, kernel_.states[i], ahead);
      if constexpr (is_backward) write_key_gradients(a_, span_, head, width_, tile, kernel_);
    }
  }

  const Args& a_;
  const AttentionSpan& span_;
  const int64_t width_;
  const Kernel& kernel_;
  const int64_t blocks_;                          // of queries of a head
  int64_t first_head_ = 0, heads_ = 0;            // that go together
  std::optional<QueryBlock> block_[most_states];  // of each state
};

}  // namespace engine::ENGINE_ISA
