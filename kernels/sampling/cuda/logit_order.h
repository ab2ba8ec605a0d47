// Orders a row's logits by size, and the lower token first among equal ones.
#pragma once

#include <cstdint>

#include "kernels/cuda/block.h"

namespace engine::cuda {

// Returns a larger key for a larger float. -0 counts as 0, and NaNs have no place.
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
// Joins a logit and its token in one number. The first token has the largest.
__device__ __forceinline__ uint64_t rank_of(float logit, int token) {
  return uint64_t{order_of(logit)} << 32 | ~static_cast<uint32_t>(token);
}
__device__ __forceinline__ int token_of(uint64_t rank) { return static_cast<int>(~static_cast<uint32_t>(rank)); }

}  // namespace engine::cuda
