// Converts IEEE half precision (f16) to f32, exactly, and back, to nearest, ties to even. There are no branches, so
// that loops over them become vectors. A NaN stays a NaN, and a number that is too large becomes infinite.
#pragma once

#include <bit>
#include <cstdint>

namespace engine {

inline float half_to_float(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t shifted = magnitude << 13;
  const uint32_t normal = shifted + ((127u - 15u) << 23);
  // For exponent 0 the f32 subtraction normalises the fraction. Exponent 31 is infinity or NaN.
  const float small = std::bit_cast<float>(normal + (1u << 23)) - std::bit_cast<float>((127u - 14u) << 23);
  const uint32_t special = shifted | 0x7f800000u;
  const uint32_t bits = magnitude < 0x0400u ? std::bit_cast<uint32_t>(small) : magnitude >= 0x7c00u ? special : normal;
  return std::bit_cast<float>(bits | (static_cast<uint32_t>(half & 0x8000u) << 16));
}

inline uint16_t float_to_half(float value) {
  const uint32_t word = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = word & 0x7fffffffu;
  const uint32_t normal = (magnitude - ((127u - 15u) << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14 the last place of f16 is 2^-24, as is that of f32 numbers near 1/2. So the addition rounds there.
  const float near_half = std::bit_cast<float>(magnitude) + 0.5f;
  const uint32_t small = std::bit_cast<uint32_t>(near_half) - std::bit_cast<uint32_t>(0.5f);
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t bits = magnitude < (113u << 23) ? small : magnitude >= (143u << 23) ? special : normal;
  return static_cast<uint16_t>(bits | ((word >> 16) & 0x8000u));
}

}  // namespace engine
