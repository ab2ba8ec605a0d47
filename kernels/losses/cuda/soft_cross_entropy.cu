// Soft targets on a device. A block takes a row and goes over both rows of logits three times, for their largest, for
// the sums and for the gradient, the second and third time from the cache. It reads 8 bytes an element and writes 4.
#include "kernels/losses/soft_cross_entropy.h"

#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/losses/cuda/row_losses.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

struct SoftRows {
  const float *logits, *targets;
  float *dlogits, *losses;  // dlogits may be null, or the logits
  int vocabulary;
  float temperature, gradient_scale;
};

// Calls body(v, logits, targets) for `width` elements of the block's row at a time.
template <int width, class Body>
__device__ __forceinline__ void each_part(const SoftRows& a, const Body& body) {
  const int64_t row = int64_t{blockIdx.x} * a.vocabulary;
  const int step = static_cast<int>(blockDim.x) * width;
  float s[width], t[width];
  for (int v = static_cast<int>(threadIdx.x) * width; v < a.vocabulary; v += step) {
    load_floats(a.logits + row + v, s);
    load_floats(a.targets + row + v, t);
    body(row + v, s, t);
  }
}

template <int width>
__global__ void __launch_bounds__(1024) soft_loss_and_gradient(const SoftRows a) {
  using Elements = float[width];
  float high = -INFINITY, target_high = -INFINITY;
  each_part<width>(a, [&](int64_t, const Elements& s, const Elements& t) {
    for (int i = 0; i < width; ++i) high = fmaxf(high, s[i]), target_high = fmaxf(target_high, t[i]);
  });
  high = block_max(high);
  target_high = block_max(target_high);
  const float to_exponent = 1.44269504f / a.temperature;  // e^(x / T) = 2^(x to_exponent)
  float total = 0, target_total = 0, distance = 0;
  each_part<width>(a, [&](int64_t, const Elements& s, const Elements& t) {
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) {
      const float p = exp2_fast((t[i] - target_high) * to_exponent);
      total += exp2_fast((s[i] - high) * to_exponent);
      target_total += p;
      if (p != 0) distance += p * ((t[i] - target_high) - (s[i] - high));
    }
  });
  total = block_sum(total);
  target_total = block_sum(target_total);
  distance = block_sum(distance);
  if (threadIdx.x == 0)
    a.losses[blockIdx.x] =
        a.temperature * (distance / target_total + a.temperature * (logf(total) - logf(target_total)));
  if (!a.dlogits) return;
  const float scale = a.gradient_scale * a.temperature, own = scale / total, of_target = scale / target_total;
  each_part<width>(a, [&](int64_t at, const Elements& s, const Elements& t) {
    float d[width];
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i)
      d[i] = exp2_fast((s[i] - high) * to_exponent) * own - exp2_fast((t[i] - target_high) * to_exponent) * of_target;
    store_floats(a.dlogits + at, d);
  });
}

}  // namespace

void CudaOps::soft_cross_entropy(const SoftCrossEntropyArgs& args) {
  const Operation operation("soft_cross_entropy", {args.logits, args.targets});
  check_soft_cross_entropy(args);
  const int64_t rows = args.logits.rows(), vocabulary = args.logits.cols();
  if (!rows) return;
  const ArenaScope scope(workspace_);
  float* const losses = room_for_losses(args.row_losses, rows, workspace_);
  const SoftRows a{args.logits.as<float>(), args.targets.as<float>(), args.dlogits.as<float>(), losses,
                   static_cast<int>(vocabulary), args.temperature, args.gradient_scale};
  with_width<4>(takes_vectors(4, vocabulary, {a.logits, a.targets, a.dlogits}), [&](auto width) {
    launch(soft_loss_and_gradient<width.value>, blocks(rows), threads_of_row(vocabulary, 32), 0, stream(), a);
  });
  add_row_losses(device_, losses, rows, args.totals.as<float>());
}

}  // namespace engine::cuda
