#include "kernels/elementwise/elementwise.h"

#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

constexpr unsigned threads = 256;

// Each thread has as many elements as 16 bytes of the wider dtype hold; where the addresses are aligned it takes them
// as vectors, and the ragged end one by one.
template <class From, class To>
__global__ void cast_kernel(const From* __restrict__ x, To* __restrict__ y, int64_t count, bool is_aligned) {
  using Wide = std::conditional_t<(sizeof(From) > sizeof(To)), From, To>;
  constexpr int width = Vector16<Wide>::size;
  const int64_t begin = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width;
  if (is_aligned && begin + width <= count) {
    const auto from = load_part<width>(x + begin);
    Part<To, width> to;
    for (int i = 0; i < width; ++i) to.at[i] = from_float<To>(to_float(from.at[i]));
    store_part(y + begin, to);
    return;
  }
  for (int64_t i = begin; i < begin + width && i < count; ++i) y[i] = from_float<To>(to_float(x[i]));
}

__global__ void lerp_kernel(const float* __restrict__ x, float* __restrict__ y, float t, int64_t count,
                            bool is_aligned) {
  constexpr int width = Vector16<float>::size;
  const int64_t begin = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width;
  if (is_aligned && begin + width <= count) {
    const Vector16<float> from = load_vector(x + begin);
    Vector16<float> to = load_vector(y + begin);
    for (int i = 0; i < width; ++i) to.at[i] += t * (from.at[i] - to.at[i]);
    store_vector(y + begin, to);
    return;
  }
  for (int64_t i = begin; i < begin + width && i < count; ++i) y[i] += t * (x[i] - y[i]);
}

// A thread a vector of a row's elements.
template <int width, class X, class Y>
__global__ void dropout_kernel(const X* x, const float* residual, Y* y, int64_t count, int cols,
                               ElementDropout dropout) {
  const int64_t begin = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width;
  if (begin >= count) return;
  float values[width], added[width]{};
  load_floats<width>(x + begin, values);
  if (residual) load_floats<width>(residual + begin, added);
  dropout.apply(begin / cols, cols, static_cast<int>(begin % cols), values);
  ENGINE_UNROLL
  for (int i = 0; i < width; ++i) values[i] += added[i];
  store_floats<width>(y + begin, values);
}

bool both_aligned(const Tensor& x, const Tensor& y) {
  return (reinterpret_cast<uintptr_t>(x.data) | reinterpret_cast<uintptr_t>(y.data)) % 16 == 0;
}

}  // namespace

void CudaOps::copy(const CopyArgs& a) {
  const Operation operation("copy", {a.x, a.y});
  if (check_copy(a)) {
    if (a.x.bytes()) check_launch(cudaMemcpyAsync(a.y.data, a.x.data, a.x.bytes(), cudaMemcpyDeviceToDevice, stream()));
    return;
  }
  const int64_t width = Vector16<float>::size;  // the other one is bf16
  with_device_elements(a.x, [&]<class From>(From* x) {
    with_device_elements(a.y, [&]<class To>(To* y) {
      launch(cast_kernel<From, To>, blocks(ceil_div(a.x.count(), width * threads)), threads, 0, stream(), x, y,
             a.x.count(), both_aligned(a.x, a.y));
    });
  });
}

void CudaOps::dropout(const DropoutArgs& a) {
  const Operation operation("dropout", {a.x, a.residual, a.y});
  check_dropout(a);
  const int64_t count = a.x.count(), cols = a.x.cols();
  const ElementDropout dropout(a.dropout);
  with_device_elements(a.x, [&]<class X>(X* x) {
    with_device_elements(a.y, [&]<class Y>(Y* y) {
      const auto start = [&]<int width>(std::integral_constant<int, width>) {
        launch(dropout_kernel<width, X, Y>, blocks(ceil_div(count, int64_t{width} * threads)), threads, 0, stream(), x,
               a.residual.as<float>(), y, count, static_cast<int>(cols), dropout);
      };
      constexpr int wide = vector_width<X, Y>;
      if (takes_vectors(wide, cols, {x, y, a.residual.data}))
        start(std::integral_constant<int, wide>{});
      else
        start(std::integral_constant<int, 1>{});
    });
  });
}

void CudaOps::lerp(const LerpArgs& a) {
  const Operation operation("lerp", {a.x, a.y});
  check_lerp(a);
  launch(lerp_kernel, blocks(ceil_div(a.x.count(), Vector16<float>::size * threads)), threads, 0, stream(),
         a.x.as<float>(), a.y.as<float>(), a.t, a.x.count(), both_aligned(a.x, a.y));
}

}  // namespace engine::cuda
