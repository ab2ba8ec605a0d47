// The order of a row's logits by size and, of equal ones, the lower token first; the first of them over a block.
#pragma once

#include <cstdint>

#include "kernels/cuda/block.h"

namespace engine::cuda {

// Larger floats have larger keys; -0 is 0, and NaNs have no place.
__device__ __forceinline__ uint32_t order_of(float logit) {
  const float value = logit + 0.0f;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float logit_of(uint32_t order) {
  const uint32_t bits = order >> 31 ? order & 0x7fffffffu : ~order;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
// A logit and its token in one number, the largest of which is the first.
__device__ __forceinline__ uint64_t rank_of(float logit, int token) {
  return uint64_t{order_of(logit)} << 32 | ~static_cast<uint32_t>(token);
}
__device__ __forceinline__ int token_of(uint64_t rank) { return static_cast<int>(~static_cast<uint32_t>(rank)); }

struct WarpNumbers {
  uint64_t of_warp[32];
};
// combine(a, b) over all threads of the block, whole warps; every thread gets the result.
template <class Combine>
__device__ __forceinline__ uint64_t block_combine(uint64_t value, uint64_t neutral, const Combine& combine) {
  WarpNumbers& shared = block_shared<WarpNumbers>();
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const auto over_warp = [&](uint64_t mine) {
    for (int distance = warp_size / 2; distance > 0; distance /= 2) mine = combine(mine, shuffle_xor(mine, distance));
    return mine;
  };
  value = over_warp(value);
  sync_block();  // the last call's results have been read
  if (lane == 0) shared.of_warp[warp] = value;
  sync_block();
  return over_warp(lane < static_cast<int>(blockDim.x) / warp_size ? shared.of_warp[lane] : neutral);
}
__device__ __forceinline__ uint64_t block_max(uint64_t value) {
  return block_combine(value, 0, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
}
__device__ __forceinline__ uint64_t block_sum(uint64_t value) {
  return block_combine(value, 0, [](uint64_t a, uint64_t b) { return a + b; });
}

}  // namespace engine::cuda
