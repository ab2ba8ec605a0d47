#include "kernels/elementwise/elementwise.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

constexpr unsigned threads = 256;

constexpr int width_of_floats = Vector16<float>::size;

// Casts as many elements a thread as 16 bytes of f32 hold. One of the two dtypes is bf16.
template <class From, class To>
__global__ void cast_kernel(const From* __restrict__ x, To* __restrict__ y, int64_t count, bool vectors) {
  each_part<width_of_floats>(count, vectors, [&]<int width>(int64_t at, std::integral_constant<int, width>) {
    float values[width];
    load_floats(x + at, values);
    store_floats(y + at, values);
  });
}

__global__ void lerp_kernel(const float* __restrict__ x, float* __restrict__ y, float t, int64_t count, bool vectors) {
  each_part<width_of_floats>(count, vectors, [&]<int width>(int64_t at, std::integral_constant<int, width>) {
    float from[width], to[width];
    load_floats(x + at, from);
    load_floats(y + at, to);
    for (int i = 0; i < width; ++i) to[i] += t * (from[i] - to[i]);
    store_floats(y + at, to);
  });
}

// Takes a vector of a row's elements a thread.
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

}  // namespace

void CudaOps::copy(const CopyArgs& a) {
  const Operation operation("copy", {a.x, a.y});
  if (check_copy(a)) {
    if (!a.x.bytes()) return;
    const auto start = [to = a.y.data, from = a.x.data, bytes = a.x.bytes(), stream = stream()] {
      check_launch(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
    };
    return start_or_record(start, a.y.data, a.x.data, a.x.bytes());
  }
  with_device_elements(a.x, [&]<class From>(From* x) {
    with_device_elements(a.y, [&]<class To>(To* y) {
      launch(cast_kernel<From, To>, blocks(ceil_div(a.x.count(), width_of_floats * threads)), threads, 0, stream(), x,
             y, a.x.count(), takes_vectors(width_of_floats, 0, {x, y}));
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
      constexpr int wide = vector_width<X, Y>;
      with_width<wide>(takes_vectors(wide, cols, {x, y, a.residual.data}), [&](auto width) {
        launch(dropout_kernel<width.value, X, Y>, blocks(ceil_div(count, int64_t{width.value} * threads)), threads, 0,
               stream(), x, a.residual.as<float>(), y, count, static_cast<int>(cols), dropout);
      });
    });
  });
}

void CudaOps::lerp(const LerpArgs& a) {
  const Operation operation("lerp", {a.x, a.y});
  check_lerp(a);
  launch(lerp_kernel, blocks(ceil_div(a.x.count(), width_of_floats * threads)), threads, 0, stream(), a.x.as<float>(),
         a.y.as<float>(), a.t, a.x.count(), takes_vectors(width_of_floats, 0, {a.x.data, a.y.data}));
}

}  // namespace engine::cuda
