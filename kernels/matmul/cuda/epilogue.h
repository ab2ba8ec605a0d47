// Finishes a few neighbouring sums of a row and stores them.
#pragma once

#include "kernels/cuda/vector.h"
#include "kernels/elementwise/cuda/activation.h"
#include "kernels/matmul/cuda/matmul.h"

namespace engine::cuda {

// Takes in t the sums of the columns col ... col+width-1 of a row. A width of 4 needs every matrix's rows to begin at
// multiples of four elements.
template <int width>
__device__ __forceinline__ void finish(const Epilogue& e, int64_t row, int64_t col, float (&t)[width]) {
  if (e.bias)
    for (int i = 0; i < width; ++i) t[i] += e.bias[col + i];
  if (e.before.data) store_floats(e.before, row, col, t);
  if (e.gradient_at.data) {
    float at[width];
    load_floats(e.gradient_at, row, col, at);
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
    load_floats(e.c, row, col, already);
    for (int i = 0; i < width; ++i) t[i] += already[i];
  }
  store_floats(e.c, row, col, t);
}

// Returns whether every matrix of the epilogue takes vectors of four.
inline bool takes_fours(const Epilogue& e) {
  return e.c.takes_vectors(4) && e.before.takes_vectors(4) && e.gradient_at.takes_vectors(4);
}

}  // namespace engine::cuda
