#include "kernels/losses/segment_soft_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/segments.h"
#include "kernels/losses/cpu/row_losses.h"

namespace engine::ENGINE_ISA {
namespace {

// Takes the loss of one column of a sequence's rows, which are `cols` floats apart, and adds its gradient to dlogits
// (may be null).
float column_loss(const float* logits, const float* targets, int64_t rows, int64_t cols, float temperature,
                  float gradient_scale, float* dlogits) {
  const float inverse = 1.0f / temperature;
  float high = -INFINITY, target_high = -INFINITY, total = 0, target_total = 0, distance = 0;
  for (int64_t i = 0; i < rows; ++i) {
    high = std::max(high, logits[i * cols]);
    target_high = std::max(target_high, targets[i * cols]);
  }
  for (int64_t i = 0; i < rows; ++i) {
    const float s = logits[i * cols] - high, t = targets[i * cols] - target_high, p = std::exp(t * inverse);
    total += std::exp(s * inverse);
    target_total += p;
    if (p != 0) distance += p * (t - s);
  }
  const float scale = gradient_scale * temperature, own = scale / total, of_target = scale / target_total;
  // A loop of its own, so that the loss has the same bits with and without a gradient.
  for (int64_t i = 0; dlogits && i < rows; ++i)
    dlogits[i * cols] += std::exp((logits[i * cols] - high) * inverse) * own -
                         std::exp((targets[i * cols] - target_high) * inverse) * of_target;
  return temperature * (distance / target_total + temperature * (std::log(total) - std::log(target_total)));
}

}  // namespace

void CpuOps::segment_soft_cross_entropy(const SegmentSoftCrossEntropyArgs& args) {
  check_segment_soft_cross_entropy(args);
  check_segments("segment_soft_cross_entropy", args.segments, args.logits.rows());
  const int32_t *begin = args.segments.begin.as<int32_t>(), *end = args.segments.end.as<int32_t>();
  const int64_t cols = args.logits.cols(), count = args.segments.count();
  float* const dlogits = args.dlogits.as<float>();
  const int64_t elements = std::max<int64_t>(1, args.logits.count() / std::max<int64_t>(1, count));
  add_losses_of_rows(count, std::max<int64_t>(1, 4096 / elements), {}, args.totals, workspace_, [&](int64_t s) {
    float loss = 0;
    for (int64_t k = 0; begin[s] < end[s] && k < cols; ++k) {
      const int64_t at = begin[s] * cols + k;
      loss += column_loss(args.logits.as<float>() + at, args.targets.as<float>() + at, end[s] - begin[s], cols,
                          args.temperature, args.gradient_scale, dlogits ? dlogits + at : nullptr);
    }
    return loss;
  });
}

}  // namespace engine::ENGINE_ISA
