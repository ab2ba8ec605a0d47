// Reductions over a warp and a block, vectors of up to 16 bytes, and the report of a wrong index.
#pragma once

#include "core/cuda/device.h"
#include "kernels/cuda/intrinsics.h"

namespace engine::cuda {

__device__ __forceinline__ bool has_fault(FaultReport report) {
  return *static_cast<const volatile int*>(report.is_claimed) != 0;
}
// Reports an index that lies outside its table. The first of a step stays, and the host raises it as an Error. Where
// many indices are wrong, only the first one's thread writes to the host's memory.
__device__ __forceinline__ void report_fault(FaultReport report, FaultKind kind, int place, int value, int limit) {
  if (has_fault(report) || atomic_compare_and_swap(report.is_claimed, 0, 1) != 0) return;
  store_global(report.fault, Fault{static_cast<int>(kind), value, limit, place});
}

// Division of unsigned numbers leaves the compiler shifts and masks.
__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x % 32u); }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x / 32u); }
__device__ __forceinline__ int warp_count() { return static_cast<int>(blockDim.x / 32u); }

// Holds `width` neighbouring elements for one load or store, of 16 bytes at most, at a multiple of their bytes.
template <class T, int width>
struct alignas(width * sizeof(T)) Part {
  static constexpr int size = width;
  T at[width];
};
// Holds as many elements as 16 bytes: 4 floats or 8 bf16.
template <class T>
using Vector16 = Part<T, 16 / static_cast<int>(sizeof(T))>;

template <int width, class T>
__device__ __forceinline__ Part<T, width> load_part(const T* aligned) {
  return *reinterpret_cast<const Part<T, width>*>(aligned_to<width * sizeof(T)>(aligned));
}
// Stores to global memory.
template <int width, class T>
__device__ __forceinline__ void store_part(T* aligned, const Part<T, width>& part) {
  store_global(reinterpret_cast<Part<T, width>*>(aligned_to<width * sizeof(T)>(aligned)), part);
}
template <class T>
__device__ __forceinline__ Vector16<T> load_vector(const T* aligned) {
  return load_part<Vector16<T>::size>(aligned);
}
template <class T>
__device__ __forceinline__ void store_vector(T* aligned, const Vector16<T>& vector) {
  store_part<Vector16<T>::size>(aligned, vector);
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

// Combine two values in reductions.
struct Add {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ __forceinline__ uint64_t operator()(uint64_t a, uint64_t b) const { return a > b ? a : b; }
};

// Reduces over the warp by a fixed tree, so that the bits are the same every time. Every lane gets the result.
template <class T, class Combine>
__device__ __forceinline__ T warp_reduce(T value, const Combine& combine) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2) value = combine(value, shuffle_xor(value, distance));
  return value;
}
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  return warp_reduce(value, Add());
}

// Reduces over a block of whole warps. Every thread gets the result. `neutral` leaves the other value as it is.
template <class T>
struct WarpResults {
  T of_warp[32];
};
template <class T, class Combine>
__device__ __forceinline__ T block_reduce(T value, T neutral, const Combine& combine) {
  WarpResults<T>& shared = block_shared<WarpResults<T>>();
  const int lane = lane_index();
  value = warp_reduce(value, combine);
  sync_block();  // all have read the results before
  if (lane == 0) shared.of_warp[warp_index()] = value;
  sync_block();
  return warp_reduce(lane < warp_count() ? shared.of_warp[lane] : neutral, combine);
}
template <class T>
__device__ __forceinline__ T block_sum(T value) {
  return block_reduce(value, T(0), Add());
}
__device__ __forceinline__ float block_max(float value) { return block_reduce(value, -INFINITY, Larger()); }
__device__ __forceinline__ uint64_t block_max(uint64_t value) { return block_reduce(value, uint64_t{0}, Larger()); }

}  // namespace engine::cuda
