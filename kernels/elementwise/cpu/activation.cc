#include "kernels/elementwise/activation.h"

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"
#include "kernels/elementwise/cpu/activation.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr int64_t activation_grain = 16384;

template <Activation act, class X, class Y>
void forward(int64_t count, const X* x, Y* y) {
  parallel_chunks(count, activation_grain, [&](int64_t begin, int64_t end) {
    each_vector(end - begin, [&](int64_t i, auto part) {
      store(y + begin + i, activate<act>(load(x + begin + i, part)), part);
    });
  });
}

template <Activation act, class X, class DY, class DX>
void backward(int64_t count, const X* x, const DY* dy, DX* dx) {
  parallel_chunks(count, activation_grain, [&](int64_t begin, int64_t end) {
    each_vector(end - begin, [&](int64_t i, auto part) {
      const vfloat slope = activate_gradient<act>(load(x + begin + i, part));
      store(dx + begin + i, load(dy + begin + i, part) * slope, part);
    });
  });
}

}  // namespace

void CpuOps::activation_forward(const ActivationForwardArgs& args) {
  check_activation_operation(args);
  with_activation(args.activation, [&]<Activation act>() {
    with_elements(args.x, [&](auto* x) {
      with_elements(args.y, [&](auto* y) { forward<act>(args.x.count(), x, y); });
    });
  });
}

void CpuOps::activation_backward(const ActivationBackwardArgs& args) {
  check_activation_operation(args);
  with_activation(args.activation, [&]<Activation act>() {
    with_elements(args.x, [&](auto* x) {
      with_elements(args.dy, [&](auto* dy) {
        with_elements(args.dx, [&](auto* dx) { backward<act>(args.x.count(), x, dy, dx); });
      });
    });
  });
}

}  // namespace engine::ENGINE_ISA
