// What is done to a block of sums before it is stored: bias, activation or its derivative, accumulation, rounding.
#pragma once

#include "kernels/activation_simd.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

// A matrix that is f32 or bf16, read and written as vectors of f32. The choice is the same for a whole product, so the
// branch costs nothing.
struct AnyMatrix {
  char* data = nullptr;
  int64_t stride = 0;
  bool is_bf16 = false;

  AnyMatrix() = default;
  explicit AnyMatrix(const Tensor& t) : data(static_cast<char*>(t.data)), stride(t.cols()), is_bf16(t.dtype == DType::bf16) {}
  explicit operator bool() const { return data != nullptr; }
  float* f32_at(int64_t row, int64_t col) const { return reinterpret_cast<float*>(data) + row * stride + col; }
  bf16* bf16_at(int64_t row, int64_t col) const { return reinterpret_cast<bf16*>(data) + row * stride + col; }
  template <bool part>
  ENGINE_INLINE vfloat read(int64_t row, int64_t col, int count) const {
    if (is_bf16) return part ? load_part<bf16>(bf16_at(row, col), count) : load(bf16_at(row, col));
    return part ? load_part<float>(f32_at(row, col), count) : load(f32_at(row, col));
  }
  template <bool part>
  ENGINE_INLINE void write(int64_t row, int64_t col, vfloat v, int count) const {
    if (is_bf16) return part ? store_part<bf16>(bf16_at(row, col), v, count) : store(bf16_at(row, col), v);
    return part ? store_part<float>(f32_at(row, col), v, count) : store(f32_at(row, col), v);
  }
};

class Epilogue {
 public:
  explicit Epilogue(const MatmulArgs& args)
      : c_(args.c), before_(args.before_activation), gradient_at_(args.gradient_at),
        bias_(static_cast<const float*>(args.bias.data)), activation_(args.activation), accumulate_(args.accumulate) {}

  // c[row ... row+rows, col ... col+cols] from the sums in tile, whose rows are `stride` apart and padded to whole vectors.
  void store_tile(const float* tile, int64_t stride, int64_t row, int64_t col, int rows, int cols) const {
    with_activation(activation_, [&]<Activation activation>() {
      for (int i = 0; i < rows; ++i) {
        const float* sums = tile + i * stride;
        int j = 0;
        for (; j + lanes <= cols; j += lanes) finish<activation, false>(load(sums + j), row + i, col + j, lanes);
        if (j < cols) finish<activation, true>(load(sums + j), row + i, col + j, cols - j);
      }
    });
  }

 private:
  template <Activation activation, bool part>
  ENGINE_INLINE void finish(vfloat t, int64_t row, int64_t col, int count) const {
    if (bias_) t += part ? load_part<float>(bias_ + col, count) : load(bias_ + col);
    if (before_) before_.write<part>(row, col, t, count);
    if (gradient_at_)
      t *= activate_gradient<activation>(gradient_at_.read<part>(row, col, count));
    else
      t = activate<activation>(t);
    if (accumulate_) t += c_.read<part>(row, col, count);
    c_.write<part>(row, col, t, count);
  }

  AnyMatrix c_, before_, gradient_at_;
  const float* bias_;
  Activation activation_;
  bool accumulate_;
};

}  // namespace engine::ENGINE_ISA
