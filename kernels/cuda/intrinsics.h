// Everything in device code that is not plain C++: warp exchanges, barriers, asynchronous copies, tensor-core products,
// shared memory. One small function each, so that kernels can be compiled for a GPU and, by the host's compiler, for
// the simulated device (tests/cudasim), which has bodies of its own behind the same names.
#pragma once

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace engine::cuda {

inline constexpr unsigned full_warp = 0xffffffffu;
inline constexpr int warp_size = 32;

// --- warps: every lane named in `mask` calls with the same mask ------------------------------------------------------
template <class T>
__device__ __forceinline__ T shuffle(T value, int lane, unsigned mask = full_warp) {
  return __shfl_sync(mask, value, lane);
}
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int lane_mask, unsigned mask = full_warp) {
  return __shfl_xor_sync(mask, value, lane_mask);
}
template <class T>
__device__ __forceinline__ T shuffle_up(T value, int delta, unsigned mask = full_warp) {
  return __shfl_up_sync(mask, value, static_cast<unsigned>(delta));
}
template <class T>
__device__ __forceinline__ T shuffle_down(T value, int delta, unsigned mask = full_warp) {
  return __shfl_down_sync(mask, value, static_cast<unsigned>(delta));
}
__device__ __forceinline__ unsigned ballot(bool predicate, unsigned mask = full_warp) {
  return __ballot_sync(mask, predicate);
}
// The lanes that hold the same value.
__device__ __forceinline__ unsigned match_any(unsigned value, unsigned mask = full_warp) {
  return __match_any_sync(mask, value);
}
__device__ __forceinline__ int reduce_add(int value, unsigned mask = full_warp) {
  return __reduce_add_sync(mask, value);
}
__device__ __forceinline__ unsigned reduce_max(unsigned value, unsigned mask = full_warp) {
  return __reduce_max_sync(mask, value);
}
__device__ __forceinline__ void sync_warp(unsigned mask = full_warp) { __syncwarp(mask); }
__device__ __forceinline__ void sync_block() { __syncthreads(); }
// Every thread of the block gets whether the predicate holds in any.
__device__ __forceinline__ bool sync_block_or(bool predicate) { return __syncthreads_or(predicate) != 0; }

// --- shared memory ---------------------------------------------------------------------------------------------------
// The block's object of type T, uninitialised: one for each T (and kernel), however often it is asked for.
template <class T>
__device__ __forceinline__ T& block_shared() {
  __shared__ alignas(16) unsigned char storage[sizeof(T)];
  return *reinterpret_cast<T*>(storage);
}
// What the launch asked for, 16-byte aligned, uninitialised.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char engine_dynamic_shared[];
  return reinterpret_cast<T*>(engine_dynamic_shared);
}

// --- asynchronous copies, global to shared, 16 bytes, both sides 16-byte aligned
// -------------------------------------- Where not `valid`, zeros are written and nothing is read.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid = true) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all but the `pending` youngest groups that this thread committed have landed. Other threads' copies are seen
// after a barrier.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// --- tensor cores ----------------------------------------------------------------------------------------------------
// Four (two) 8x8 matrices of 16-bit elements from shared memory; lane 8 i + r gives the address of row r of matrix i
// (16 bytes, 16-byte aligned). Lane l receives of matrix i the elements (l / 4, 2 (l % 4)) and the one after it;
// transposed: (2 (l % 4), l / 4) and the one below.
__device__ __forceinline__ void load_matrix_x4(uint32_t (&fragment)[4], const void* shared_row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&fragment)[4], const void* shared_row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}
// sums (16x8, f32) += a (16x16, bf16, row) b (16x8, bf16, column). With g = lane / 4 and t = lane % 4:
//   a[0] (g, 2t..), a[1] (g+8, 2t..), a[2] (g, 2t+8..), a[3] (g+8, 2t+8..);  b[0] (2t.., g), b[1] (2t+8.., g);
//   sums[0], [1] (g, 2t), (g, 2t+1);  sums[2], [3] (g+8, 2t), (g+8, 2t+1).
__device__ __forceinline__ void multiply_add_16x8x16(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0,
                                                     uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// --- arithmetic ------------------------------------------------------------------------------------------------------
__device__ __forceinline__ float exp2_fast(float x) {  // 2 ulp; -inf gives 0
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ int count_bits(unsigned x) { return __popc(x); }
__device__ __forceinline__ float reciprocal_square_root(float x) { return rsqrtf(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(float x) { return x; }
// Two floats rounded to nearest even, the first in the low half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&both);
}

// --- memory ----------------------------------------------------------------------------------------------------------
__device__ __forceinline__ int atomic_add(int* address, int value) { return atomicAdd(address, value); }
__device__ __forceinline__ int atomic_compare_and_swap(int* address, int compare, int value) {
  return atomicCAS(address, compare, value);
}
// The address of an access of so many bytes; the simulated device checks that it is a multiple of them.
template <int bytes, class T>
__device__ __forceinline__ T* aligned_to(T* address) {
  return address;
}
// What this thread wrote before is seen by every thread of the device before what it writes after.
__device__ __forceinline__ void device_fence() { __threadfence(); }

}  // namespace engine::cuda

#else
#include <cudasim_intrinsics.h>
#endif

// Before a loop: it is unrolled whole, as one has to be whose body indexes registers, or by a number. Simulated threads
// have no registers to save.
#ifdef __CUDACC__
#define ENGINE_PRAGMA(text) _Pragma(#text)
#define ENGINE_UNROLL ENGINE_PRAGMA(unroll)
#define ENGINE_UNROLL_BY(times) ENGINE_PRAGMA(unroll times)
#else
#define ENGINE_UNROLL
#define ENGINE_UNROLL_BY(times)
#endif
