// Scaled rows on a device. A block adds a row. One block goes over all rows backward, since they are few, and adds up
// the gradient of the scale in a fixed order. An index out of range is a fault, and its row counts for nothing.
#include "kernels/rows/scaled_rows.h"

#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int threads = 256, threads_of_sum = 1024;

// The rows of one matrix that an operation takes, by index or all in their order.
struct SomeRows {
  float* matrix;
  const int32_t* index;  // or null
  int limit;             // rows of the matrix
  FaultKind kind;

  SomeRows(const Tensor& matrix_, const Tensor& index_, FaultKind kind_)
      : matrix(matrix_.as<float>()), index(index_ ? index_.as<int32_t>() : nullptr),
        limit(static_cast<int>(matrix_.rows())), kind(kind_) {}

  // Returns row i, or null where its index is none of the matrix; `reports` says who reports that.
  __device__ float* row(int i, int64_t width, FaultReport fault, bool reports) const {
    const int at = index ? index[i] : i;
    if (0 <= at && at < limit) return matrix + at * width;
    if (reports) report_fault(fault, kind, i, at, limit);
    return nullptr;
  }
};

struct DeviceScale {
  const float* weights;
  int count, at;
  bool is_softmax;

  explicit DeviceScale(const RowScale& scale)
      : weights(scale.weights.as<float>()), count(static_cast<int>(scale.weights.count())),
        at(static_cast<int>(scale.at)), is_softmax(scale.gate == Gate::softmax) {}

  __device__ double softmax(int m) const {
    double sum = 0;
    for (int l = 0; l < count; ++l) sum += exp(static_cast<double>(weights[l]) - static_cast<double>(weights[m]));
    return 1 / sum;
  }
  __device__ float value() const {
    if (is_softmax) return static_cast<float>(softmax(at));
    return weights[at] < 0.0f ? 0.0f : weights[at];
  }
};

__global__ void __launch_bounds__(threads)
    add_kernel(const SomeRows from, const SomeRows to, const DeviceScale scale, int64_t width, FaultReport fault) {
  const int i = static_cast<int>(blockIdx.x);
  const float* const x = from.row(i, width, fault, threadIdx.x == 0);
  float* const y = to.row(i, width, fault, threadIdx.x == 0);
  if (!x || !y) return;
  const float factor = scale.value();
  for (int64_t c = threadIdx.x; c < width; c += threads) y[c] += factor * x[c];
}

__global__ void __launch_bounds__(threads_of_sum)
    scale_backward(const SomeRows of_x, const SomeRows of_dy, const DeviceScale scale, float* dweights, int count,
                   int64_t width, FaultReport fault) {
  double g = 0;
  for (int i = 0; i < count; ++i) {
    const float* const x = of_x.row(i, width, fault, threadIdx.x == 0);
    const float* const dy = of_dy.row(i, width, fault, threadIdx.x == 0);
    if (!x || !dy) continue;
    for (int64_t c = threadIdx.x; c < width; c += threads_of_sum)
      g += static_cast<double>(x[c]) * static_cast<double>(dy[c]);
  }
  g = block_sum(g);
  if (scale.is_softmax) {
    const double own = scale.softmax(scale.at);
    for (int m = static_cast<int>(threadIdx.x); m < scale.count; m += threads_of_sum)
      dweights[m] += static_cast<float>(g * own * ((m == scale.at ? 1.0 : 0.0) - scale.softmax(m)));
  } else if (threadIdx.x == 0 && !(scale.weights[scale.at] <= 0.0f)) {
    dweights[scale.at] += static_cast<float>(g);
  }
}

}  // namespace

void CudaOps::add_scaled_rows(const AddScaledRowsArgs& a) {
  const Operation operation("add_scaled_rows", {a.x, a.x_index, a.y, a.y_index});
  const int64_t count = check_scaled_rows(a);
  if (!count || !a.x.cols()) return;
  launch(add_kernel, blocks(count), threads, 0, stream(), SomeRows(a.x, a.x_index, FaultKind::added_from),
         SomeRows(a.y, a.y_index, FaultKind::added_to), DeviceScale(a.scale), a.x.cols(), device_.fault());
}

void CudaOps::row_scale_backward(const RowScaleBackwardArgs& a) {
  const Operation operation("row_scale_backward", {a.x, a.x_index, a.dy, a.dy_index});
  const int64_t count = check_scaled_rows(a);
  if (!count || !a.x.cols()) return;
  launch(scale_backward, blocks(1), threads_of_sum, 0, stream(), SomeRows(a.x, a.x_index, FaultKind::scaled_from),
         SomeRows(a.dy, a.dy_index, FaultKind::scaled_to), DeviceScale(a.scale), a.dweights.as<float>(),
         static_cast<int>(count), a.x.cols(), device_.fault());
}

}  // namespace engine::cuda
