// What kernels share: vectors of 16 bytes, sums and maxima over a warp and a block, dropout's counters.
#pragma once

#include "core/cuda/device.h"
#include "core/random.h"
#include "core/tensor.h"
#include "kernels/cuda/intrinsics.h"

namespace engine::cuda {

// The dtypes of activations in device code.
using bfloat16 = __nv_bfloat16;

// On the host: body(pointer to the elements): float* or bfloat16*, as the tensor holds; of an absent one a null float*.
template <class Body>
void with_device_elements(const Tensor& tensor, const Body& body) {
  if (tensor.dtype == DType::bf16)
    body(static_cast<bfloat16*>(tensor.data));
  else
    body(static_cast<float*>(tensor.data));
}

// An index that lies outside its table: the first of a step is kept, and raised as an Error on the host.
__device__ __forceinline__ void report_fault(Fault* fault, FaultKind kind, int place, int value, int limit) {
  if (atomic_compare_and_swap(&fault->kind, 0, static_cast<int>(kind)) != 0) return;
  fault->value = value;
  fault->limit = limit;
  fault->place = place;
}

// As many T as 16 bytes hold: 4 floats or 8 bf16.
template <class T>
struct alignas(16) Vector16 {
  static constexpr int size = 16 / sizeof(T);
  T at[size];
};
template <class T>
__device__ __forceinline__ Vector16<T> load_vector(const T* aligned) {
  return *reinterpret_cast<const Vector16<T>*>(aligned_to<16>(aligned));
}
template <class T>
__device__ __forceinline__ void store_vector(T* aligned, const Vector16<T>& vector) {
  *reinterpret_cast<Vector16<T>*>(aligned_to<16>(aligned)) = vector;
}
// The same for some of the elements of such a vector: `width` of them, 16 bytes or a half or quarter of them.
template <class T, int width>
struct alignas(width * sizeof(T)) Part {
  T at[width];
};
template <int width, class T>
__device__ __forceinline__ Part<T, width> load_part(const T* aligned) {
  return *reinterpret_cast<const Part<T, width>*>(aligned_to<width * sizeof(T)>(aligned));
}
template <int width, class T>
__device__ __forceinline__ void store_part(T* aligned, const Part<T, width>& part) {
  *reinterpret_cast<Part<T, width>*>(aligned_to<width * sizeof(T)>(aligned)) = part;
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
