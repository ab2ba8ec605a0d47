// bfloat16 as cuda_bf16.h has it, for the simulated device: the conversions that the engine's kernels use.
#pragma once

#include <bit>
#include <cstdint>

#include "core/bf16.h"

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16(float x) {
  // The hardware gives one NaN for all.
  return {x != x ? uint16_t{0x7fff} : engine::bf16(x).bits};
}
inline float __bfloat162float(__nv_bfloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) {
  return {__float2bfloat16(low), __float2bfloat16(high)};
}
