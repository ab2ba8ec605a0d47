// What is done to a few neighbouring sums of a row before they are stored.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/elementwise/cuda/activation.h"
#include "kernels/matmul/cuda/matmul.h"

namespace engine::cuda {

template <class T, int width>
__device__ __forceinline__ void read_part(const char* data, int64_t index, float (&to)[width]) {
  const Part<T, width> part = load_part<width>(reinterpret_cast<const T*>(data) + index);
  for (int i = 0; i < width; ++i) to[i] = to_float(part.at[i]);
}
template <class T, int width>
__device__ __forceinline__ void write_part(char* data, int64_t index, const float (&from)[width]) {
  Part<T, width> part;
  for (int i = 0; i < width; ++i) part.at[i] = from_float<T>(from[i]);
  store_part<width>(reinterpret_cast<T*>(data) + index, part);
}
template <int width>
__device__ __forceinline__ void read(const AnyMatrix& matrix, int64_t row, int64_t col, float (&to)[width]) {
  const int64_t index = row * matrix.stride + col;
  if (matrix.is_bf16) read_part<bfloat16>(matrix.data, index, to);
  else read_part<float>(matrix.data, index, to);
}
template <int width>
__device__ __forceinline__ void write(const AnyMatrix& matrix, int64_t row, int64_t col, const float (&from)[width]) {
  const int64_t index = row * matrix.stride + col;
  if (matrix.is_bf16) write_part<bfloat16>(matrix.data, index, from);
  else write_part<float>(matrix.data, index, from);
}

// t are the sums of the columns col ... col+width-1 of a row. A width of 4 wants every matrix's rows to begin at
// multiples of four elements.
template <int width>
__device__ __forceinline__ void finish(const Epilogue& e, int64_t row, int64_t col, float (&t)[width]) {
  if (e.bias)
    for (int i = 0; i < width; ++i) t[i] += e.bias[col + i];
  if (e.before.data) write(e.before, row, col, t);
  if (e.gradient_at.data) {
    float at[width];
    read(e.gradient_at, row, col, at);
    with_activation(e.activation, [&]<Activation activation>() {
      for (int i = 0; i < width; ++i) t[i] *= activation_gradient<activation>(at[i]);
    });
  } else {
    with_activation(e.activation, [&]<Activation activation>() {
      for (int i = 0; i < width; ++i) t[i] = activate<activation>(t[i]);
    });
  }
  if (e.accumulate) {
    float already[width];
    read(e.c, row, col, already);
    for (int i = 0; i < width; ++i) t[i] += already[i];
  }
  write(e.c, row, col, t);
}

// Whether every matrix takes vectors of four.
inline bool takes_fours(const AnyMatrix& m) {
  return m.stride % 4 == 0 && reinterpret_cast<uintptr_t>(m.data) % (4 * m.element_bytes()) == 0;
}
inline bool takes_fours(const Epilogue& e) {
  return takes_fours(e.c) && takes_fours(e.before) && takes_fours(e.gradient_at);
}

}  // namespace engine::cuda
