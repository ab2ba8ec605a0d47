// What kernels share: vectors of 16 bytes, sums and maxima over a warp and a block, dropout's counters.
#pragma once

#include "core/random.h"
#include "kernels/cuda_intrinsics.h"

namespace engine::cuda {

// The dtypes of activations in device code.
using bfloat16 = __nv_bfloat16;

// As many T as 16 bytes hold: 4 floats or 8 bf16.
template <class T>
struct alignas(16) Vector16 {
  static constexpr int size = 16 / sizeof(T);
  T at[size];
};
template <class T>
__device__ __forceinline__ Vector16<T> load_vector(const T* aligned) {
  return *reinterpret_cast<const Vector16<T>*>(aligned);
}
template <class T>
__device__ __forceinline__ void store_vector(T* aligned, const Vector16<T>& vector) {
  *reinterpret_cast<Vector16<T>*>(aligned) = vector;
}
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bfloat16 from_float<bfloat16>(float x) {
  return __float2bfloat16(x);
}

// Every lane gets the result; a fixed tree, so the same bits every time.
__device__ __forceinline__ float warp_sum(float value) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2) value += shuffle_xor(value, distance);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2) value = fmaxf(value, shuffle_xor(value, distance));
  return value;
}

// Over a block of at most 1024 threads, whole warps; every thread gets the result. Combine is warp_sum or warp_max.
struct WarpResults {
  float of_warp[32];
};
template <float (*combine)(float)>
__device__ __forceinline__ float block_reduce(float value, float neutral) {
  WarpResults& shared = block_shared<WarpResults>();
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = combine(value);
  sync_block();  // the last call's results have been read
  if (lane == 0) shared.of_warp[warp] = value;
  sync_block();
  return combine(lane < warps ? shared.of_warp[lane] : neutral);
}
__device__ __forceinline__ float block_sum(float value) { return block_reduce<warp_sum>(value, 0.0f); }
__device__ __forceinline__ float block_max(float value) { return block_reduce<warp_max>(value, -INFINITY); }

}  // namespace engine::cuda
