#include "kernels/losses/soft_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vector_loop.h"
#include "kernels/losses/cpu/row_losses.h"

namespace engine::ENGINE_ISA {
namespace {

float largest_of(const float* row, int64_t count) {
  vfloat top = splat(-INFINITY);
  each_vector(count, [&](int64_t v, auto part) { top = maximum(top, only(load(row + v, part), part, top)); });
  return largest(top);
}

// Returns e^((row_v - high) / T).
template <class Lanes>
ENGINE_INLINE vfloat exponential(const float* row, int64_t v, float high, float inverse, Lanes part) {
  return exp((load(row + v, part) - high) * inverse);
}

// Takes the loss of one row, and its gradient in dlogits, which may be the logits themselves.
float row_loss(const float* logits, const float* targets, int64_t vocabulary, float temperature, float gradient_scale,
               float* dlogits) {
  const float high = largest_of(logits, vocabulary), target_high = largest_of(targets, vocabulary);
  const float inverse = 1.0f / temperature;
  const float target_total = sum_over(vocabulary, [&](int64_t v, auto part) {
    return only(exponential(targets, v, target_high, inverse, part), part);
  });
  // distance = the sum of p (t - s), relative to the largest of each, times T / target_total.
  const float distance = sum_over(vocabulary, [&](int64_t v, auto part) {
    const vfloat apart = (load(targets + v, part) - target_high) - (load(logits + v, part) - high);
    const vfloat p = exponential(targets, v, target_high, inverse, part);
    return only(p == 0.0f ? vfloat{} : p * apart, part);
  });
  const float total = sum_over(vocabulary, [&](int64_t v, auto part) {
    const vfloat e = exponential(logits, v, high, inverse, part);
    if (dlogits) store(dlogits + v, e, part);
    return only(e, part);
  });
  if (dlogits) {
    const float scale = gradient_scale * temperature, own = scale / total, of_target = scale / target_total;
    each_vector(vocabulary, [&](int64_t v, auto part) {
      const vfloat p = exponential(targets, v, target_high, inverse, part);
      store(dlogits + v, load(dlogits + v, part) * own - p * of_target, part);
    });
  }
  return temperature * (distance / target_total + temperature * (std::log(total) - std::log(target_total)));
}

}  // namespace

void CpuOps::soft_cross_entropy(const SoftCrossEntropyArgs& args) {
  check_soft_cross_entropy(args);
  const int64_t rows = args.logits.rows(), vocabulary = args.logits.cols();
  float* const dlogits = args.dlogits.as<float>();
  const int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(vocabulary, 1));
  add_losses_of_rows(rows, grain, args.row_losses, args.totals, workspace_, [&](int64_t r) {
    return row_loss(args.logits.as<float>() + r * vocabulary, args.targets.as<float>() + r * vocabulary, vocabulary,
                    args.temperature, args.gradient_scale, dlogits ? dlogits + r * vocabulary : nullptr);
  });
}

}  // namespace engine::ENGINE_ISA
