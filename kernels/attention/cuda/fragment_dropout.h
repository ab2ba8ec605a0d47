// Finds the weights of a fragment that dropout drops. One call of the generator serves four consecutive keys of a
// query, which several lanes hold. These lanes share the calls and exchange bits. Bit 4 n + e of the result stands for
// element e of the n-th fragment of 16 x 8.
#pragma once

#include "kernels/attention/cuda/tile.h"

namespace engine::cuda {

inline constexpr uint32_t every_fourth = 0x11111111u;

// Rows are queries from `query_row`, and columns are keys from `first_key`, a multiple of 8. Lanes t and t ^ 1 need the
// same keys of rows g and g + 8: the even lane draws for row g, the odd one for row g + 8.
template <int columns>
__device__ __forceinline__ uint32_t dropped_weights(const AttentionCommon& of, int query_row, int head, int first_key) {
  static_assert(columns <= 8);
  const int lane = lane_index(), g = lane / 4, t = lane % 4, odd = t % 2;
  const uint64_t block = of.dropout.block_of(query_row + g + 8 * odd, of.heads, head, first_key + t / 2 * 4);
  uint32_t mine = 0;
  ENGINE_UNROLL_BY(2)
  for (int n = 0; n < columns; ++n)
    mine |= of.dropout.dropped_of_four(block + static_cast<uint64_t>(2 * n)) << (4 * n);
  const uint32_t others = shuffle_xor(mine, 1);
  const uint32_t upper = (odd ? others : mine) >> (2 * odd), lower = (odd ? mine : others) >> (2 * odd);
  return (upper & 3 * every_fourth) | (lower & 3 * every_fourth) << 2;
}

// Rows are keys from `first_key`, a multiple of 16, and columns are queries. The four lanes with one g / 4 and t need
// four blocks in each fragment, one for each element. Lane g % 4 = e draws for element e, for all keys of g / 4.
template <int columns>
__device__ __forceinline__ uint32_t dropped_weights_transposed(const AttentionCommon& of, int query_row, int head,
                                                               int first_key) {
  static_assert(columns <= 8);
  const int lane = lane_index(), e = lane / 4 % 4, t = lane % 4;
  const int key = first_key + 8 * (e / 2) + lane / 16 * 4;
  uint32_t mine = 0;
  ENGINE_UNROLL_BY(2)
  for (int n = 0; n < columns; ++n) {
    const uint64_t block = of.dropout.block_of(query_row + 8 * n + 2 * t + e % 2, of.heads, head, key);
    mine |= of.dropout.dropped_of_four(block) << (4 * n);
  }
  uint32_t dropped = 0;
  ENGINE_UNROLL
  for (int element = 0; element < 4; ++element)
    dropped |= (shuffle(mine, (lane & ~12) | element * 4) >> e & every_fourth) << element;
  return dropped;
}

}  // namespace engine::cuda
