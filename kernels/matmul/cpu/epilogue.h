// The epilogue of a product changes a block of sums before it is stored: bias, activation or its derivative,
// accumulation, rounding.
#pragma once

#include "kernels/elementwise/cpu/activation.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

// A matrix that is f32 or bf16, read and written as vectors of f32.
struct AnyMatrix {
  char* data = nullptr;
  int64_t stride = 0;
  bool is_bf16 = false;

  AnyMatrix() = default;
  explicit AnyMatrix(const Tensor& t)
      : data(static_cast<char*>(t.data)), stride(t.cols()), is_bf16(t.dtype == DType::bf16) {}
  explicit operator bool() const { return data != nullptr; }
  template <class T>
  T* at(int64_t row, int64_t col) const {
    return reinterpret_cast<T*>(data) + row * stride + col;
  }
  vfloat read(int64_t row, int64_t col, int count) const {
    return is_bf16 ? read_part(at<bf16>(row, col), count) : read_part(at<float>(row, col), count);
  }
  void write(int64_t row, int64_t col, vfloat v, int count) const {
    is_bf16 ? write_part(at<bf16>(row, col), v, count) : write_part(at<float>(row, col), v, count);
  }
  // Fetches `rows` pieces of two vectors.
  ENGINE_INLINE void prefetch(int64_t row, int64_t col, int rows) const {
    const int64_t bytes = is_bf16 ? 2 : 4;
    for (int i = 0; i < rows; ++i)
      for (int64_t byte = 0; byte < 2 * lanes * bytes; byte += 64)
        __builtin_prefetch(data + ((row + i) * stride + col) * bytes + byte, 1);
  }
  template <class T>
  static vfloat read_part(const T* p, int count) {
    return count >= lanes ? load(p) : load_part<T>(p, count);
  }
  template <class T>
  static void write_part(T* p, vfloat v, int count) {
    count >= lanes ? store(p, v) : store_part<T>(p, v, count);
  }
};

ENGINE_INLINE void store_pair(float* p, vfloat a, vfloat b) {
  store(p, a);
  store(p + lanes, b);
}
ENGINE_INLINE void store_pair(bf16* p, vfloat a, vfloat b) {
#if defined(__AVX512BF16__)
  const __m512bh both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(a));
  _mm512_storeu_si512(p, reinterpret_cast<__m512i>(both));
#elif defined(__AVX512BW__)
  const auto rounded = [](vfloat v) {
    const vint word = as_int(v);
    return reinterpret_cast<__m512i>(word + 0x7fff + ((word >> 16) & 1));
  };
  alignas(64) static constexpr uint16_t upper_halves[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                            23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                            45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  _mm512_storeu_si512(p, _mm512_permutex2var_epi16(rounded(a), _mm512_load_si512(upper_halves), rounded(b)));
#else
  store(p, a);
  store(p + lanes, b);
#endif
}

// The epilogue of a Kernel, whose tile of sums is two vectors wide. Each Kernel has a class of its own, since a file
// that is compiled for more instructions than others must not share functions with them.
template <class Kernel>
class EpilogueOf {
 public:
  explicit EpilogueOf(const MatmulArgs& args)
      : c_(args.c),
        before_(args.before_activation),
        gradient_at_(args.gradient_at),
        bias_(static_cast<const float*>(args.bias.data)),
        activation_(args.activation),
        accumulate_(args.accumulate) {
    // Most products take one of these functions, and all others the general way.
    const AnyMatrix& other = before_ ? before_ : gradient_at_;
    if ((before_ && gradient_at_) || (other && (accumulate_ || other.is_bf16 != c_.is_bf16))) return;
    with_activation(activation_, [&]<Activation activation>() {
      if (c_.is_bf16) store_pairs_ = accumulate_ ? nullptr : pairs<activation, bf16>();
      else
        store_pairs_ =
            accumulate_ ? &EpilogueOf::store_pairs<activation, float, Also::adds> : pairs<activation, float>();
    });
  }

  // Stores c[row ... row+rows, col ... col+cols] from the sums in tile, whose rows are 2 lanes apart.
  void store_tile(const float* tile, int64_t row, int64_t col, int rows, int cols) const {
    if (store_pairs_ && cols == 2 * lanes) return (this->*store_pairs_)(tile, row, col, rows);
    with_activation(activation_, [&]<Activation activation>() {
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < cols; j += lanes)
          finish<activation>(load(tile + i * 2 * lanes + j), row + i, col + j, cols - j);
    });
  }

  // Fetches a tile's part of c and of the matrices that go with it. It is used shortly after, and waiting for each line
  // then would stall the stores. This is always inline, for gcc drops calls of functions that only prefetch.
  ENGINE_INLINE void prefetch(int64_t row, int64_t col, int rows) const {
    c_.prefetch(row, col, rows);
    if (before_) before_.prefetch(row, col, rows);
    if (gradient_at_) gradient_at_.prefetch(row, col, rows);
  }

 private:
  enum class Also { nothing, adds, keeps_before, multiplies };
  using StorePairs = void (EpilogueOf::*)(const float*, int64_t, int64_t, int) const;

  template <Activation activation, class T>
  StorePairs pairs() const {
    if (before_) return &EpilogueOf::store_pairs<activation, T, Also::keeps_before>;
    if (gradient_at_) return &EpilogueOf::store_pairs<activation, T, Also::multiplies>;
    return &EpilogueOf::store_pairs<activation, T, Also::nothing>;
  }

  template <Activation activation, class T, Also also>
  void store_pairs(const float* tile, int64_t row, int64_t col, int rows) const {
    const vfloat bias0 = bias_ ? load(bias_ + col) : vfloat{}, bias1 = bias_ ? load(bias_ + col + lanes) : vfloat{};
    const AnyMatrix& matrix = also == Also::keeps_before ? before_ : gradient_at_;
    T* c = c_.at<T>(row, col);
    T* other = also == Also::keeps_before || also == Also::multiplies ? matrix.at<T>(row, col) : nullptr;
    for (int i = 0; i < rows; ++i, tile += 2 * lanes, c += c_.stride) {
      vfloat first = load(tile) + bias0, second = load(tile + lanes) + bias1;
      if constexpr (also == Also::keeps_before) store_pair(other, first, second);
      if constexpr (also == Also::multiplies) {
        first *= activate_gradient<activation>(load(other));
        second *= activate_gradient<activation>(load(other + lanes));
      } else {
        first = activate<activation>(first);
        second = activate<activation>(second);
      }
      if constexpr (also == Also::keeps_before || also == Also::multiplies) other += matrix.stride;
      if constexpr (also == Also::adds) {
        first += load(c);
        second += load(c + lanes);
      }
      store_pair(c, first, second);
    }
  }

  template <Activation activation>
  void finish(vfloat t, int64_t row, int64_t col, int count) const {
    if (bias_) t += AnyMatrix::read_part(bias_ + col, count);
    if (before_) before_.write(row, col, t, count);
    if (gradient_at_) t *= activate_gradient<activation>(gradient_at_.read(row, col, count));
    else t = activate<activation>(t);
    if (accumulate_) t += c_.read(row, col, count);
    c_.write(row, col, t, count);
  }

  AnyMatrix c_, before_, gradient_at_;
  const float* bias_;
  Activation activation_;
  bool accumulate_;
  StorePairs store_pairs_ = nullptr;
};

}  // namespace engine::ENGINE_ISA
