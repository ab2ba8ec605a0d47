#include "kernels/losses/span_mask_loss.h"

#include <algorithm>

#include "core/parallel.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/segments.h"
#include "kernels/losses/span_mask_steps.h"

namespace engine::ENGINE_ISA {

void CpuOps::span_mask_loss(const SpanMaskLossArgs& args) {
  check_span_mask_loss(args);
  check_segments("span_mask_loss", args.segments, args.logits.rows());
  const int32_t *begin = args.segments.begin.as<int32_t>(), *end = args.segments.end.as<int32_t>();
  const int64_t count = args.segments.count();
  const ArenaScope scope(workspace_);
  float* const scratch = workspace_.make(DType::f32, {args.logits.rows(), 5}).as<float>();
  float* const losses = workspace_.make(DType::f32, {count}).as<float>();
  const int64_t elements = std::max<int64_t>(1, args.logits.count() / std::max<int64_t>(1, count));
  parallel_chunks(count, std::max<int64_t>(1, 512 / elements), [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) {
      const int n = end[s] - begin[s];
      const SpanMaskRows rows{args.logits.as<float>() + 2 * int64_t{begin[s]}, args.mask.as<float>() + begin[s],
                              scratch + 5 * int64_t{begin[s]}, n};
      const SpanMaskSums all = rows.sums(0, n);
      losses[s] = 0;
      if (all.covered == 0) continue;
      losses[s] = args.weight * rows.loss(0, n, {}, {}, all) / static_cast<float>(n);
      const float scale = args.gradient_scale * args.weight / static_cast<float>(n);
      if (args.dlogits) rows.gradient(0, n, {}, {}, all, scale, args.dlogits.as<float>() + 2 * int64_t{begin[s]});
    }
  });
  double sum = 0;
  for (int64_t s = 0; s < count; ++s) sum += static_cast<double>(losses[s]);
  *args.total.as<float>() += static_cast<float>(sum);
}

}  // namespace engine::ENGINE_ISA
