// Holds everything in device code that is not plain C++: warp exchanges, barriers, asynchronous copies, tensor-core
// products, shared memory. Each is one small function, so that the host's compiler can compile kernels for the
// simulated device (tests/cudasim), which has its own bodies behind the same names.
#pragma once

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace engine::cuda {

using bfloat16 = __nv_bfloat16;

inline constexpr unsigned full_warp = 0xffffffffu;
inline constexpr int warp_size = 32;

// --- warps: every lane in `mask` calls with the same mask ------------------------------------------------------------
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
__device__ __forceinline__ unsigned ballot(bool predicate, unsigned mask = full_warp) {
  return __ballot_sync(mask, predicate);
}
// Returns the lanes that hold the same value.
__device__ __forceinline__ unsigned match_any(unsigned value, unsigned mask = full_warp) {
  return __match_any_sync(mask, value);
}
__device__ __forceinline__ void sync_warp(unsigned mask = full_warp) { __syncwarp(mask); }
__device__ __forceinline__ void sync_block() { __syncthreads(); }
// Returns, in every thread of the block, whether the predicate holds in any of them.
__device__ __forceinline__ bool sync_block_or(bool predicate) { return __syncthreads_or(predicate) != 0; }

// --- shared memory ---------------------------------------------------------------------------------------------------
// Returns the block's object of type T, uninitialised. A kernel has one for each T.
template <class T>
__device__ __forceinline__ T& block_shared() {
  __shared__ alignas(16) unsigned char storage[sizeof(T)];
  return *reinterpret_cast<T*>(storage);
}
// Returns the dynamic shared memory of the launch, 16-byte aligned, uninitialised.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char engine_dynamic_shared[];
  return reinterpret_cast<T*>(engine_dynamic_shared);
}

// --- asynchronous copies ---------------------------------------------------------------------------------------------
// Copies 16 bytes from global to shared memory, both 16-byte aligned. If not `valid` it writes zeros and reads nothing.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid = true) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until all but the `pending` youngest groups of this thread have landed. A barrier makes them visible to other
// threads.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// --- tensor cores ----------------------------------------------------------------------------------------------------
// Loads four 8x8 matrices of 16-bit elements from shared memory. Lane 8 i + r gives the address of row r of matrix i
// (16 bytes, 16-byte aligned). Lane l receives the element (l / 4, 2 (l % 4)) of matrix i and the one after it. The
// transposed form gives it (2 (l % 4), l / 4) and the one below.
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
// Adds a (16x16, bf16, row) b (16x8, bf16, column) to sums (16x8, f32). With g = lane / 4 and t = lane % 4 a lane holds
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
// Has an error of 2 ulp. Minus infinity gives 0.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ int count_bits(unsigned x) { return __popc(x); }
__device__ __forceinline__ float reciprocal_square_root(float x) { return rsqrtf(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(float x) { return x; }
// Rounds two floats to nearest even and puts the first in the low half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&both);
}

// --- memory ----------------------------------------------------------------------------------------------------------
__device__ __forceinline__ int atomic_add(int* address, int value) { return atomicAdd(address, value); }
__device__ __forceinline__ int atomic_compare_and_swap(int* address, int compare, int value) {
  return atomicCAS(address, compare, value);
}
// Returns the address of an access of `bytes` bytes. The simulated device checks that it is a multiple of them.
template <int bytes, class T>
__device__ __forceinline__ T* aligned_to(T* address) {
  return address;
}
// Stores an object of at most 16 bytes to global memory by one instruction. The compiler splits assignments of structs.
template <class Object>
__device__ __forceinline__ void store_global(Object* to, const Object& object) {
  if constexpr (sizeof(Object) == 16) {
    uint4 word;
    memcpy(&word, &object, sizeof word);
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(word.x),
                 "r"(word.y), "r"(word.z), "r"(word.w)
                 : "memory");
  } else if constexpr (sizeof(Object) == 8) {
    uint2 word;
    memcpy(&word, &object, sizeof word);
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(word.x), "r"(word.y)
                 : "memory");
  } else {
    static_assert(sizeof(Object) == 4 || sizeof(Object) == 2);
    *to = object;
  }
}

}  // namespace engine::cuda

#else
#include <cudasim_intrinsics.h>
#endif

// Unrolls the loop that follows, whole or by a number. A loop whose body indexes registers has to be unrolled whole.
// The simulated device unrolls nothing, since its threads have no registers.
#ifdef __CUDACC__
#define ENGINE_PRAGMA(text) _Pragma(#text)
#define ENGINE_UNROLL ENGINE_PRAGMA(unroll)
#define ENGINE_UNROLL_BY(times) ENGINE_PRAGMA(unroll times)
#else
#define ENGINE_UNROLL
#define ENGINE_UNROLL_BY(times)
#endif
