// What element-wise kernels share: rows read and written as floats, 16 bytes of the narrower dtype at a time where all
// is aligned; dropout by element.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/cuda/block.h"
#include "kernels/cuda/dropout.h"

namespace engine::cuda {

// Neighbouring elements that a thread takes at once, of tensors of these dtypes: 16 bytes of the narrowest.
template <class... T>
inline constexpr int vector_width = ((sizeof(T) == 2) || ...) ? 8 : 4;

// A width of 1 reads any address, others want 16-byte alignment.
template <int width, class T>
__device__ __forceinline__ void load_floats(const T* from, float (&to)[width]) {
  if constexpr (width == 1) {
    to[0] = to_float(*from);
  } else {
    constexpr int size = Vector16<T>::size;
    static_assert(width % size == 0);
    ENGINE_UNROLL
    for (int part = 0; part < width; part += size) {
      const Vector16<T> vector = load_vector(from + part);
      ENGINE_UNROLL
      for (int i = 0; i < size; ++i) to[part + i] = to_float(vector.at[i]);
    }
  }
}
// Elements 0 ... width-1, of which the first `count` are read, 16 bytes at a time where they may be; the others are 0.
template <int width, class T>
__device__ __forceinline__ void load_floats_before(const T* from, int64_t count, bool aligned, float (&to)[width]) {
  if (aligned && count >= width) {
    load_floats(from, to);
    return;
  }
  ENGINE_UNROLL
  for (int i = 0; i < width; ++i) to[i] = i < count ? to_float(from[i]) : 0.0f;
}
template <int width, class T>
__device__ __forceinline__ void store_floats(T* to, const float (&from)[width]) {
  if constexpr (width == 1) {
    *to = from_float<T>(from[0]);
  } else {
    constexpr int size = Vector16<T>::size;
    static_assert(width % size == 0);
    ENGINE_UNROLL
    for (int part = 0; part < width; part += size) {
      Vector16<T> vector;
      ENGINE_UNROLL
      for (int i = 0; i < size; ++i) vector.at[i] = from_float<T>(from[part + i]);
      store_vector(to + part, vector);
    }
  }
}

// Whether every row of `cols` elements of each of these begins at a multiple of 16 bytes and is whole vectors of
// `width`.
inline bool takes_vectors(int width, int64_t cols, std::initializer_list<const void*> tensors) {
  for (const void* data : tensors)
    if (reinterpret_cast<uintptr_t>(data) % 16 != 0) return false;
  return cols % width == 0;
}

// Dropout of a matrix's elements.
struct ElementDropout : DropoutDraws {
  bool drops;

  explicit ElementDropout(const Dropout& of) : DropoutDraws(of), drops(of.rate > 0) {}

  // Multiplies the elements of columns col ... col+width-1 of a row of a matrix with `cols` columns by their factors.
  // One call of the generator serves four elements; a width beyond 1 wants cols and col to be multiples of 4.
  template <int width>
  __device__ __forceinline__ void apply(int64_t row, int cols, int col, float (&values)[width]) const {
    if (!drops) return;
    const uint64_t element = static_cast<uint64_t>((first_row + row) * cols + col);
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
