#include "kernels/rows/scaled_rows.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "kernels/checks.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/simd.h"

namespace engine::ENGINE_ISA {
namespace {

// Returns row i of a matrix, or row index[i] where there is an index.
float* row_of(const Tensor& matrix, const Tensor& index, int64_t i) {
  return matrix.as<float>() + (index ? index.as<int32_t>()[i] : i) * matrix.cols();
}

void check_values(const char* name, const char* index_name, const Tensor& index, const Tensor& matrix) {
  if (index) check_indices(name, index_name, index, matrix.rows());
}

// Returns softmax(w)_m.
double softmax_of(const Tensor& weights, int64_t m) {
  const float* const w = weights.as<float>();
  double sum = 0;
  for (int64_t l = 0; l < weights.count(); ++l)
    sum += std::exp(static_cast<double>(w[l]) - static_cast<double>(w[m]));
  return 1 / sum;
}

float scale_of(const RowScale& scale) {
  const float w = scale.weights.as<float>()[scale.at];
  if (scale.gate == Gate::softmax) return static_cast<float>(softmax_of(scale.weights, scale.at));
  return w < 0 ? 0 : w;
}

}  // namespace

void CpuOps::add_scaled_rows(const AddScaledRowsArgs& args) {
  const int64_t count = check_scaled_rows(args), width = args.x.cols();
  check_values("add_scaled_rows", "x_index", args.x_index, args.x);
  check_values("add_scaled_rows", "y_index", args.y_index, args.y);
  if (!width) return;
  const float scale = scale_of(args.scale);
  parallel_chunks(count, std::max<int64_t>(1, 32768 / width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* const x = row_of(args.x, args.x_index, i);
      float* const y = row_of(args.y, args.y_index, i);
      for (int64_t c = 0; c < width; ++c) y[c] += scale * x[c];
    }
  });
}

// The rows are few, so a single thread is done before others have begun.
void CpuOps::row_scale_backward(const RowScaleBackwardArgs& args) {
  const int64_t count = check_scaled_rows(args), width = args.x.cols();
  check_values("row_scale_backward", "x_index", args.x_index, args.x);
  check_values("row_scale_backward", "dy_index", args.dy_index, args.dy);
  double g = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float* const x = row_of(args.x, args.x_index, i);
    const float* const dy = row_of(args.dy, args.dy_index, i);
    double sums[lanes] = {};
    for (int64_t c = 0; c < width; ++c)
      sums[c % lanes] += static_cast<double>(x[c]) * static_cast<double>(dy[c]);
    for (const double sum : sums) g += sum;
  }
  const RowScale& scale = args.scale;
  float* const dweights = args.dweights.as<float>();
  if (scale.gate == Gate::relu) {
    if (!(scale.weights.as<float>()[scale.at] <= 0)) dweights[scale.at] += static_cast<float>(g);
    return;
  }
  const double own = softmax_of(scale.weights, scale.at);
  for (int64_t m = 0; m < scale.weights.count(); ++m)
    dweights[m] += static_cast<float>(g * own * ((m == scale.at) - softmax_of(scale.weights, m)));
}

}  // namespace engine::ENGINE_ISA
