// Soft targets over the rows of sequences on a device. A block takes a sequence and goes over the rows of each column
// three times, for the largest logits, for the sums and for the gradient, the second and third time from the cache.
#include "kernels/losses/segment_soft_cross_entropy.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/segments.h"
#include "kernels/losses/cuda/row_losses.h"

namespace engine::cuda {
namespace {

constexpr unsigned threads_of_soft_segment = 128;

struct SoftSegments {
  const float *logits, *targets;
  float *dlogits, *losses;  // dlogits may be null
  SegmentRows segments;
  int cols;
  float temperature, gradient_scale;
};

__global__ void __launch_bounds__(threads_of_soft_segment) segment_soft_loss(const SoftSegments a) {
  const int s = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  if (!is_inside(a.segments, s) || a.segments.begin[s] == a.segments.end[s]) {
    if (thread == 0) a.losses[s] = 0;
    return;
  }
  const int first = a.segments.begin[s] + thread, end = a.segments.end[s];
  constexpr int step = static_cast<int>(threads_of_soft_segment);
  const float inverse = 1.0f / a.temperature;
  float loss = 0;
  for (int k = 0; k < a.cols; ++k) {
    const auto at = [&](int row) { return int64_t{row} * a.cols + k; };
    float high = -INFINITY, target_high = -INFINITY, total = 0, target_total = 0, distance = 0;
    for (int row = first; row < end; row += step) {
      high = fmaxf(high, a.logits[at(row)]);
      target_high = fmaxf(target_high, a.targets[at(row)]);
    }
    high = block_max(high);
    target_high = block_max(target_high);
    for (int row = first; row < end; row += step) {
      const float z = a.logits[at(row)] - high, t = a.targets[at(row)] - target_high, p = expf(t * inverse);
      total += expf(z * inverse);
      target_total += p;
      if (p != 0) distance += p * (t - z);
    }
    total = block_sum(total);
    target_total = block_sum(target_total);
    distance = block_sum(distance);
    loss += a.temperature * (distance / target_total + a.temperature * (logf(total) - logf(target_total)));
    if (!a.dlogits) continue;
    const float scale = a.gradient_scale * a.temperature, own = scale / total, of_target = scale / target_total;
    for (int row = first; row < end; row += step)
      a.dlogits[at(row)] += expf((a.logits[at(row)] - high) * inverse) * own -
                            expf((a.targets[at(row)] - target_high) * inverse) * of_target;
  }
  if (thread == 0) a.losses[s] = loss;
}

}  // namespace

void CudaOps::segment_soft_cross_entropy(const SegmentSoftCrossEntropyArgs& args) {
  const Operation operation("segment_soft_cross_entropy", {args.logits, args.targets});
  check_segment_soft_cross_entropy(args);
  const int64_t count = args.segments.count();
  if (!count) return;
  const ArenaScope scope(workspace_);
  float* const losses = room_for_losses({}, count, workspace_);
  const SoftSegments a{args.logits.as<float>(), args.targets.as<float>(), args.dlogits.as<float>(), losses,
                       SegmentRows(args.segments, args.logits, FaultKind::soft_loss_segment, device_.fault()),
                       static_cast<int>(args.logits.cols()), args.temperature, args.gradient_scale};
  launch(segment_soft_loss, blocks(count), threads_of_soft_segment, 0, stream(), a);
  add_row_losses(device_, losses, count, args.totals.as<float>());
}

}  // namespace engine::cuda
