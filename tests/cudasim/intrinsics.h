// Gives the functions of kernels/cuda/intrinsics.h their bodies on the simulated device. A forbidden use is an error
// that names the kernel.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstring>

#include "tests/cudasim/block.h"

namespace engine::cuda {

using bfloat16 = __nv_bfloat16;

inline constexpr unsigned full_warp = 0xffffffffu;
inline constexpr int warp_size = 32;

template <class T>
T shuffle_from(const char* operation, T value, int lane, unsigned mask) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = cudasim::shuffle(operation, bits, lane, mask);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
T shuffle(T value, int lane, unsigned mask = full_warp) {
  return shuffle_from("shuffle", value, lane & (warp_size - 1), mask);
}
template <class T>
T shuffle_xor(T value, int lane_mask, unsigned mask = full_warp) {
  return shuffle_from("shuffle_xor", value, (cudasim::lane() ^ lane_mask) & (warp_size - 1), mask);
}
template <class T>
T shuffle_up(T value, int delta, unsigned mask = full_warp) {
  const int lane = cudasim::lane();
  return shuffle_from("shuffle_up", value, lane >= delta ? lane - delta : lane, mask);
}
inline unsigned ballot(bool predicate, unsigned mask = full_warp) { return cudasim::ballot(predicate, mask); }
inline unsigned match_any(unsigned value, unsigned mask = full_warp) { return cudasim::match_any(value, mask); }
inline void sync_warp(unsigned mask = full_warp) { cudasim::sync_warp(mask); }
inline void sync_block() { cudasim::sync_block("sync_block", false); }
inline bool sync_block_or(bool predicate) { return cudasim::sync_block("sync_block_or", predicate); }

template <class T>
T& block_shared() {
  static const char type = 0;
  return *static_cast<T*>(cudasim::static_shared(&type, sizeof(T)));
}
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(cudasim::dynamic_shared());
}

inline void copy_async_16(void* shared, const void* global, bool valid = true) {
  cudasim::copy_async_16(shared, global, valid);
}
inline void copy_async_commit() { cudasim::copy_async_commit(); }
template <int pending>
void copy_async_wait() {
  cudasim::copy_async_wait(pending);
}

inline void load_matrix_x4(uint32_t (&fragment)[4], const void* shared_row) {
  cudasim::load_matrix(fragment, shared_row, false);
}
inline void load_matrix_x4_transposed(uint32_t (&fragment)[4], const void* shared_row) {
  cudasim::load_matrix(fragment, shared_row, true);
}
inline void multiply_add_16x8x16(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t b[2] = {b0, b1};
  cudasim::multiply_add(sums, a, b);
}

// Gives 0 for subnormal results, as the device does.
inline float exp2_fast(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}
inline int count_bits(unsigned x) { return __builtin_popcount(x); }
inline float reciprocal_square_root(float x) { return 1.0f / std::sqrt(x); }
inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
inline float to_float(float x) { return x; }
inline uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(__float2bfloat16(high).bits) << 16 | __float2bfloat16(low).bits;
}

template <int bytes, class T>
T* aligned_to(T* address) {
  cudasim::check_aligned(address, bytes);
  return address;
}
template <class Object>
void store_global(Object* to, const Object& object) {
  *to = object;
}
// Threads change places at barriers and exchanges alone, so plain accesses are atomic here.
inline int atomic_add(int* address, int value) {
  const int before = *address;
  *address += value;
  return before;
}
inline int atomic_compare_and_swap(int* address, int compare, int value) {
  const int before = *address;
  if (before == compare) *address = value;
  return before;
}

}  // namespace engine::cuda
