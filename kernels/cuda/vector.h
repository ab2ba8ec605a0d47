// Reads and writes elements as floats, as vectors where addresses allow it, and drops a matrix's elements.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/block.h"
#include "kernels/cuda/dispatch.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/matrix.h"

namespace engine::cuda {

// The elements that a thread takes at once from tensors of these dtypes: as many of the narrowest as 16 bytes hold.
template <class... T>
inline constexpr int vector_width = ((sizeof(T) == 2) || ...) ? 8 : 4;

// The elements of type T in one access, for `width` neighbouring elements.
template <class T, int width>
inline constexpr int access_width = width < Vector16<T>::size ? width : Vector16<T>::size;

// Reads `width` neighbouring elements. Their address is a multiple of their bytes, or of 16.
template <int width, class T>
__device__ __forceinline__ void load_floats(const T* from, float (&to)[width]) {
  constexpr int size = access_width<T, width>;
  static_assert(width % size == 0);
  ENGINE_UNROLL
  for (int begin = 0; begin < width; begin += size) {
    const Part<T, size> part = load_part<size>(from + begin);
    ENGINE_UNROLL
    for (int i = 0; i < size; ++i) to[begin + i] = to_float(part.at[i]);
  }
}
// Reads the first `count` of `width` elements, as vectors where all are read and `aligned` says so. The others are 0.
template <int width, class T>
__device__ __forceinline__ void load_floats_before(const T* from, int64_t count, bool aligned, float (&to)[width]) {
  if (aligned && count >= width) {
    load_floats(from, to);
    return;
  }
  ENGINE_UNROLL
  for (int i = 0; i < width; ++i) to[i] = i < count ? to_float(from[i]) : 0.0f;
}
// Writes `width` neighbouring elements of global memory, at a multiple of their bytes, or of 16.
template <int width, class T>
__device__ __forceinline__ void store_floats(T* to, const float (&from)[width]) {
  constexpr int size = access_width<T, width>;
  static_assert(width % size == 0);
  ENGINE_UNROLL
  for (int begin = 0; begin < width; begin += size) {
    Part<T, size> part;
    ENGINE_UNROLL
    for (int i = 0; i < size; ++i) part.at[i] = from_float<T>(from[begin + i]);
    store_part(to + begin, part);
  }
}

// Return and take neighbouring elements of a row of a matrix.
template <class T>
__device__ __forceinline__ T* element_at(const DeviceMatrix& matrix, int64_t row, int64_t col) {
  return reinterpret_cast<T*>(matrix.data) + row * matrix.stride + col;
}
template <int width>
__device__ __forceinline__ void load_floats(const DeviceMatrix& matrix, int64_t row, int64_t col, float (&to)[width]) {
  if (matrix.is_bf16) load_floats(element_at<const bfloat16>(matrix, row, col), to);
  else load_floats(element_at<const float>(matrix, row, col), to);
}
template <int width>
__device__ __forceinline__ void store_floats(const DeviceMatrix& matrix, int64_t row, int64_t col,
                                             const float (&from)[width]) {
  if (matrix.is_bf16) store_floats(element_at<bfloat16>(matrix, row, col), from);
  else store_floats(element_at<float>(matrix, row, col), from);
}
__device__ __forceinline__ float load_element(const DeviceMatrix& matrix, int64_t row, int64_t col) {
  float value[1];
  load_floats(matrix, row, col, value);
  return value[0];
}
__device__ __forceinline__ void store_element(const DeviceMatrix& matrix, int64_t row, int64_t col, float value) {
  const float values[1] = {value};
  store_floats(matrix, row, col, values);
}

// Calls body(first element, std::integral_constant<int, N>) for the elements begin ... begin+width-1 before `end`: once
// with N = width where all of them are and `vectors` says so, else for each element with N = 1.
template <int width, class Body>
__device__ __forceinline__ void vector_or_elements(int64_t begin, int64_t end, bool vectors, const Body& body) {
  if (vectors && begin + width <= end) {
    body(begin, std::integral_constant<int, width>());
    return;
  }
  for (int64_t i = begin; i < begin + width && i < end; ++i) body(i, std::integral_constant<int, 1>());
}
// The same for this thread's `width` of `count` elements.
template <int width, class Body>
__device__ __forceinline__ void each_part(int64_t count, bool vectors, const Body& body) {
  vector_or_elements<width>((int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width, count, vectors, body);
}

// Returns whether every row of `cols` elements of each tensor begins at a multiple of 16 bytes and is whole vectors of
// `width` elements.
inline bool takes_vectors(int width, int64_t cols, std::initializer_list<const void*> tensors) {
  for (const void* data : tensors)
    if (reinterpret_cast<uintptr_t>(data) % 16 != 0) return false;
  return cols % width == 0;
}

// Drops elements of a matrix.
struct ElementDropout : DropoutDraws {
  bool drops;

  explicit ElementDropout(const Dropout& dropout) : DropoutDraws(dropout), drops(dropout.rate > 0) {}

  // Multiplies the elements of columns col ... col+width-1 of a row of a matrix with `cols` columns by their factors.
  // One call of the generator serves four elements. A width beyond 1 needs cols and col to be multiples of 4.
  template <int width>
  __device__ __forceinline__ void apply(int64_t row, int cols, int col, float (&values)[width]) const {
    if (!drops) return;
    const uint64_t element = static_cast<uint64_t>((first_row() + row) * cols + col);
    if constexpr (width == 1) {
      values[0] = words(element / 4)[element % 4] < threshold ? 0.0f : values[0] * scale;
    } else {
      ENGINE_UNROLL
      for (int part = 0; part < width; part += 4) {
        const std::array<uint32_t, 4> drawn = words(element / 4 + static_cast<uint64_t>(part / 4));
        ENGINE_UNROLL
        for (int i = 0; i < 4; ++i)
          values[part + i] = drawn[static_cast<size_t>(i)] < threshold ? 0.0f : values[part + i] * scale;
      }
    }
  }
};

}  // namespace engine::cuda
