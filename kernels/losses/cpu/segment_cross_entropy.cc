#include "kernels/losses/segment_cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/segments.h"
#include "kernels/losses/cpu/row_losses.h"

namespace engine::ENGINE_ISA {
namespace {

// Takes the loss of one column of a sequence's rows, which are `cols` floats apart, and its gradient in dlogits (may be
// null, or the logits). Columns are few, so that a line of the cache serves all of them.
float column_loss(const float* logits, const float* targets, int64_t rows, int64_t cols, float gradient_scale,
                  float* dlogits) {
  float high = -INFINITY, sum = 0, weight = 0, loss = 0;
  for (int64_t i = 0; i < rows; ++i) high = std::max(high, logits[i * cols]);
  for (int64_t i = 0; i < rows; ++i) {
    sum += std::exp(logits[i * cols] - high);
    weight += targets[i * cols];
  }
  const float lse = std::log(sum);  // relative to the largest
  for (int64_t i = 0; i < rows; ++i) {
    const float y = targets[i * cols];
    if (y != 0) loss += y * (lse - (logits[i * cols] - high));
  }
  // A loop of its own, so that the loss has the same bits with and without a gradient.
  for (int64_t i = 0; dlogits && i < rows; ++i)
    dlogits[i * cols] = gradient_scale * (weight * (std::exp(logits[i * cols] - high) / sum) - targets[i * cols]);
  return loss;
}

// Returns the row with the largest of one column's values, the first of equal ones.
int64_t largest_row(const float* values, int64_t rows, int64_t cols) {
  int64_t best = 0;
  for (int64_t i = 1; i < rows; ++i)
    if (values[i * cols] > values[best * cols]) best = i;
  return best;
}

}  // namespace

void CpuOps::segment_cross_entropy(const SegmentCrossEntropyArgs& args) {
  check_segment_cross_entropy(args);
  check_segments("segment_cross_entropy", args.segments, args.logits.rows());
  const int32_t *begin = args.segments.begin.as<int32_t>(), *end = args.segments.end.as<int32_t>();
  const int64_t cols = args.logits.cols(), count = args.segments.count();
  const float *const logits = args.logits.as<float>(), *const targets = args.targets.as<float>();
  float* const dlogits = args.dlogits.as<float>();
  const ArenaScope scope(workspace_);
  uint8_t* const right = workspace_.make(DType::u8, {count}).as<uint8_t>();
  const int64_t elements = std::max<int64_t>(1, args.logits.count() / std::max<int64_t>(1, count));
  const Tensor sums{args.totals.data, DType::f32, {2}};
  add_losses_of_rows(count, std::max<int64_t>(1, 4096 / elements), args.row_losses, sums, workspace_, [&](int64_t s) {
    float loss = 0;
    right[s] = begin[s] < end[s];
    for (int64_t k = 0; k < cols; ++k) {
      const int64_t at = begin[s] * cols + k, rows = end[s] - begin[s];
      right[s] &= largest_row(logits + at, rows, cols) == largest_row(targets + at, rows, cols);
      loss += column_loss(logits + at, targets + at, rows, cols, args.gradient_scale, dlogits ? dlogits + at : nullptr);
    }
    right[s] &= loss == loss;
    return loss;
  });
  args.totals.as<float>()[2] += static_cast<float>(std::count(right, right + count, uint8_t{1}));
}

}  // namespace engine::ENGINE_ISA
