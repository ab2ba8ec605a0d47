#include "kernels/rows/segment_mean.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/segments.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

constexpr unsigned mean_threads = 128;

// Takes some columns of a segment a block, `width` of them a thread, and adds them in the order of the rows.
template <int width, class X, class Y>
__global__ void __launch_bounds__(mean_threads) mean_kernel(const X* x, SegmentRows segments, Y* y, int cols) {
  const int s = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * width;
  if (!is_inside(segments, s) || column >= cols) return;
  const int begin = segments.begin[s], end = segments.end[s];
  float sums[width] = {};
  for (int n = begin; n < end; ++n) {
    float part[width];
    load_floats(x + int64_t{n} * cols + column, part);
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) sums[i] += part[i];
  }
  ENGINE_UNROLL
  for (int i = 0; i < width; ++i) sums[i] = end > begin ? sums[i] / static_cast<float>(end - begin) : 0.0f;
  store_floats(y + int64_t{s} * cols + column, sums);
}

dim3 grid_of(const Segments& segments, int64_t cols, int width) {
  return blocks(segments.count(), ceil_div(cols, int64_t{mean_threads} * width));
}

}  // namespace

void CudaOps::segment_mean_forward(const SegmentMeanForwardArgs& a) {
  const Operation operation("segment_mean_forward", {a.x, a.y});
  check_segment_mean(a);
  const SegmentRows segments(a.segments, a.x, FaultKind::mean_segment, device_.fault());
  const int64_t cols = a.x.cols();
  with_device_elements(a.x, [&]<class X>(X* x) {
    with_device_elements(a.y, [&]<class Y>(Y* y) {
      constexpr int vector = vector_width<X, Y>;
      const bool vectors = takes_vectors(vector, cols, {x, y});
      launch(vectors ? mean_kernel<vector, X, Y> : mean_kernel<1, X, Y>,
             grid_of(a.segments, cols, vectors ? vector : 1), mean_threads, 0, stream(), x, segments, y,
             static_cast<int>(cols));
    });
  });
}

}  // namespace engine::cuda
