// Activations on a device. A thread takes 16 bytes of the narrower dtype, and the ragged end by elements. Each element
// is read once and written once, which bounds the time: 4 bytes an element forward and 6 backward in bf16.
#include "kernels/elementwise/activation.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/elementwise/cuda/activation.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr unsigned activation_threads = 256;

// y may be x.
template <class X, class Y>
__global__ void __launch_bounds__(activation_threads)
    activation_forward_kernel(const X* x, Y* y, int64_t count, Activation activation, bool vectors) {
  each_part<vector_width<X, Y>>(count, vectors, [&]<int width>(int64_t at, std::integral_constant<int, width>) {
    float value[width];
    load_floats(x + at, value);
    with_activation(activation, [&]<Activation act>() {
      for (int i = 0; i < width; ++i) value[i] = activate<act>(value[i]);
    });
    store_floats(y + at, value);
  });
}

// dx may be dy.
template <class X, class DY, class DX>
__global__ void __launch_bounds__(activation_threads)
    activation_backward_kernel(const X* x, const DY* dy, DX* dx, int64_t count, Activation activation, bool vectors) {
  each_part<vector_width<X, DY, DX>>(count, vectors, [&]<int width>(int64_t at, std::integral_constant<int, width>) {
    float value[width], d[width];
    load_floats(x + at, value);
    load_floats(dy + at, d);
    with_activation(activation, [&]<Activation act>() {
      for (int i = 0; i < width; ++i) d[i] *= activation_gradient<act>(value[i]);
    });
    store_floats(dx + at, d);
  });
}

template <int width>
dim3 blocks_for(int64_t count) {
  return blocks(ceil_div(count, width * activation_threads));
}

}  // namespace

void CudaOps::activation_forward(const ActivationForwardArgs& args) {
  const Operation operation("activation_forward", {args.x, args.y});
  check_activation_operation(args);
  const int64_t count = args.x.count();
  with_device_elements(args.x, [&]<class X>(X* x) {
    with_device_elements(args.y, [&]<class Y>(Y* y) {
      constexpr int width = vector_width<X, Y>;
      launch(activation_forward_kernel<X, Y>, blocks_for<width>(count), activation_threads, 0, stream(), x, y, count,
             args.activation, takes_vectors(width, 0, {x, y}));
    });
  });
}

void CudaOps::activation_backward(const ActivationBackwardArgs& args) {
  const Operation operation("activation_backward", {args.x, args.dy, args.dx});
  check_activation_operation(args);
  const int64_t count = args.x.count();
  with_device_elements(args.x, [&]<class X>(X* x) {
    with_device_elements(args.dy, [&]<class DY>(DY* dy) {
      with_device_elements(args.dx, [&]<class DX>(DX* dx) {
        constexpr int width = vector_width<X, DY, DX>;
        launch(activation_backward_kernel<X, DY, DX>, blocks_for<width>(count), activation_threads, 0, stream(), x, dy,
               dx, count, args.activation, takes_vectors(width, 0, {x, dy, dx}));
      });
    });
  });
}

}  // namespace engine::cuda
