// The loss of which rows an answer covers on a device. A block takes a sequence and a thread some rows that lie
// together. Each thread adds up the sums of the parts before and behind its own, of which there are few.
#include "kernels/losses/span_mask_loss.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/segments.h"
#include "kernels/losses/cuda/row_losses.h"
#include "kernels/losses/span_mask_steps.h"

namespace engine::cuda {
namespace {

constexpr int threads_of_mask = 64;

struct MaskSegments {
  const float *logits, *mask;
  float *dlogits, *losses, *scratch;  // dlogits may be null
  SegmentRows segments;
  float weight, gradient_scale;
};

template <class Sums>
struct Parts {
  Sums of_thread[threads_of_mask];
};
template <class Sums>
struct Around {
  Sums before, behind;
};

// Returns the sums of the parts before this thread's and behind it. The whole block calls it.
template <class Sums>
__device__ __forceinline__ Around<Sums> around(const Sums& own) {
  Parts<Sums>& parts = block_shared<Parts<Sums>>();
  const int thread = static_cast<int>(threadIdx.x);
  parts.of_thread[thread] = own;
  sync_block();
  Around<Sums> result;
  for (int other = 0; other < thread; ++other) result.before.add(parts.of_thread[other]);
  for (int other = threads_of_mask - 1; other > thread; --other) result.behind.add(parts.of_thread[other]);
  return result;
}

__global__ void __launch_bounds__(threads_of_mask) mask_loss_and_gradient(const MaskSegments a) {
  const int s = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const bool inside = is_inside(a.segments, s);
  if (thread == 0) a.losses[s] = 0;
  if (!inside) return;
  const int row = a.segments.begin[s], n = a.segments.end[s] - row, part = (n + threads_of_mask - 1) / threads_of_mask;
  const int begin = thread * part < n ? thread * part : n, end = begin + part < n ? begin + part : n;
  const SpanMaskRows rows{a.logits + 2 * int64_t{row}, a.mask + row, a.scratch + 5 * int64_t{row}, n};
  const SpanMaskSums own = rows.sums(begin, end);
  const Around<SpanMaskSums> sums = around(own);
  // All threads take the sums of all rows from the first one, so that they are the same bits.
  SpanMaskSums& all = block_shared<SpanMaskSums>();
  if (thread == 0) {
    all = own;
    all.add(sums.behind);
  }
  sync_block();
  if (all.covered == 0) return;
  const float loss = block_sum(rows.loss(begin, end, sums.before, sums.behind, all));
  if (thread == 0) a.losses[s] = a.weight * loss / static_cast<float>(n);
  if (!a.dlogits) return;
  const Around<SpanMaskCoefficients> c = around(rows.coefficients(begin, end));
  rows.gradient(begin, end, c.before, c.behind, all, a.gradient_scale * a.weight / static_cast<float>(n),
                a.dlogits + 2 * int64_t{row});
}

}  // namespace

void CudaOps::span_mask_loss(const SpanMaskLossArgs& args) {
  const Operation operation("span_mask_loss", {args.logits});
  check_span_mask_loss(args);
  const int64_t count = args.segments.count();
  if (!count) return;
  const ArenaScope scope(workspace_);
  float* const losses = room_for_losses({}, count, workspace_);
  float* const scratch = workspace_.make(DType::f32, {args.logits.rows(), 5}).as<float>();
  const MaskSegments a{args.logits.as<float>(), args.mask.as<float>(), args.dlogits.as<float>(), losses, scratch,
                       SegmentRows(args.segments, args.logits, FaultKind::mask_segment, device_.fault()),
                       args.weight, args.gradient_scale};
  launch(mask_loss_and_gradient, blocks(count), threads_of_mask, 0, stream(), a);
  add_losses(device_, losses, count, args.total.as<float>());
}

}  // namespace engine::cuda
