// Cross entropy over the rows of sequences on a device. A block takes a sequence and goes over the rows of each column
// three times, for the largest logit, for the sums and for the gradient, the second and third time from the cache.
#include "kernels/losses/segment_cross_entropy.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/segments.h"
#include "kernels/losses/cuda/row_losses.h"
#include "kernels/sampling/cuda/logit_order.h"

namespace engine::cuda {
namespace {

constexpr unsigned threads_of_segment = 128;

struct SegmentLosses {
  const float *logits, *targets;
  float *dlogits, *losses, *right;  // dlogits may be null, or the logits
  SegmentRows segments;
  int cols;
  float gradient_scale;
};

__global__ void __launch_bounds__(threads_of_segment) segment_loss_and_gradient(const SegmentLosses a) {
  const int s = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  if (!is_inside(a.segments, s)) {
    if (thread == 0) a.losses[s] = a.right[s] = 0;
    return;
  }
  const int first = a.segments.begin[s] + thread, end = a.segments.end[s];
  constexpr int step = static_cast<int>(threads_of_segment);
  float total = 0;
  bool is_right = a.segments.begin[s] < end;
  for (int k = 0; k < a.cols; ++k) {
    const auto at = [&](int row) { return int64_t{row} * a.cols + k; };
    float high = -INFINITY, sum = 0, weight = 0, loss = 0;
    uint64_t likeliest = 0, meant = 0;  // ranks order values and, among equal ones, the first before the others
    for (int row = first; row < end; row += step) {
      const float z = a.logits[at(row)];
      high = fmaxf(high, z);
      likeliest = Larger()(likeliest, rank_of(z, row));
      meant = Larger()(meant, rank_of(a.targets[at(row)], row));
    }
    high = block_max(high);
    is_right = is_right && token_of(block_max(likeliest)) == token_of(block_max(meant));
    for (int row = first; row < end; row += step) {
      sum += expf(a.logits[at(row)] - high);
      weight += a.targets[at(row)];
    }
    sum = block_sum(sum);
    weight = block_sum(weight);
    const float lse = logf(sum);  // relative to the largest
    for (int row = first; row < end; row += step) {
      const float z = a.logits[at(row)] - high, y = a.targets[at(row)];
      if (y != 0) loss += y * (lse - z);
      if (a.dlogits) a.dlogits[at(row)] = a.gradient_scale * (weight * (expf(z) / sum) - y);
    }
    total += block_sum(loss);
  }
  if (thread > 0) return;
  a.losses[s] = total;
  a.right[s] = is_right && total == total ? 1 : 0;
}

}  // namespace

void CudaOps::segment_cross_entropy(const SegmentCrossEntropyArgs& args) {
  const Operation operation("segment_cross_entropy", {args.logits, args.targets});
  check_segment_cross_entropy(args);
  const int64_t count = args.segments.count();
  if (!count) return;
  const ArenaScope scope(workspace_);
  float* const losses = room_for_losses(args.row_losses, count, workspace_);
  float* const right = workspace_.make(DType::f32, {count}).as<float>();
  const SegmentLosses a{args.logits.as<float>(), args.targets.as<float>(), args.dlogits.as<float>(), losses, right,
                        SegmentRows(args.segments, args.logits, FaultKind::loss_segment, device_.fault()),
                        static_cast<int>(args.logits.cols()), args.gradient_scale};
  launch(segment_loss_and_gradient, blocks(count), threads_of_segment, 0, stream(), a);
  add_row_losses(device_, losses, count, args.totals.as<float>(), right);
}

}  // namespace engine::cuda
