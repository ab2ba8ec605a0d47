#include "kernels/losses/span_mask_loss.h"

#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/segments.h"
#include "kernels/losses/cpu/row_losses.h"
#include "kernels/losses/span_mask_steps.h"

namespace engine::ENGINE_ISA {

void CpuOps::span_mask_loss(const SpanMaskLossArgs& args) {
  check_span_mask_loss(args);
  check_segments("span_mask_loss", args.segments, args.logits.rows());
  const int32_t *begin = args.segments.begin.as<int32_t>(), *end = args.segments.end.as<int32_t>();
  const int64_t count = args.segments.count();
  const ArenaScope scope(workspace_);
  float* const scratch = workspace_.make(DType::f32, {args.logits.rows(), 5}).as<float>();
  const int64_t elements = std::max<int64_t>(1, args.logits.count() / std::max<int64_t>(1, count));
  const int64_t grain = std::max<int64_t>(1, 512 / elements);
  add_losses(count, grain, {}, args.total.as<float>(), workspace_, [&](int64_t s) {
    const int n = end[s] - begin[s];
    const SpanMaskRows rows{args.logits.as<float>() + 2 * int64_t{begin[s]}, args.mask.as<float>() + begin[s],
                            scratch + 5 * int64_t{begin[s]}, n};
    const SpanMaskSums all = rows.sums(0, n);
    if (all.covered == 0) return 0.0f;
    const float loss = args.weight * rows.loss(0, n, {}, {}, all) / static_cast<float>(n);
    const float scale = args.gradient_scale * args.weight / static_cast<float>(n);
    if (args.dlogits) rows.gradient(0, n, {}, {}, all, scale, args.dlogits.as<float>() + 2 * int64_t{begin[s]});
    return loss;
  });
}

}  // namespace engine::ENGINE_ISA
