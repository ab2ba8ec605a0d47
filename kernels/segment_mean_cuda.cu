#include "kernels/segment_mean.h"

#include "kernels/cuda_block.h"
#include "kernels/cuda_launch.h"
#include "kernels/cuda_ops.h"
#include "kernels/sizes.h"

namespace engine::cuda {

namespace {

constexpr unsigned threads = 128;

struct Rows {
  const int *begin, *end;
  int rows;  // of the matrix
  Fault* fault;

  Rows(const Segments& segments, const Tensor& matrix, Fault* of_device)
      : begin(segments.begin.as<int32_t>()), end(segments.end.as<int32_t>()), rows(static_cast<int>(matrix.rows())),
        fault(of_device) {}
};

// False, after a note of the fault, where segment s is not rows of the matrix.
__device__ __forceinline__ bool is_inside(const Rows& segments, int s) {
  const int begin = segments.begin[s], end = segments.end[s];
  if (0 <= begin && begin <= end && end <= segments.rows) return true;
  if (threadIdx.x == 0) report_fault(segments.fault, FaultKind::mean_segment, s, end - 1, segments.rows);
  return false;
}

// A block some columns of a segment, a thread a column: its sum in the order of the rows.
template <class X, class Y>
__global__ void mean_kernel(const X* x, Rows segments, Y* y, int cols) {
  const int s = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
  if (!is_inside(segments, s) || column >= cols) return;
  const int begin = segments.begin[s], end = segments.end[s];
  float sum = 0;
  for (int n = begin; n < end; ++n) sum += to_float(x[int64_t{n} * cols + column]);
  y[int64_t{s} * cols + column] = from_float<Y>(end > begin ? sum / static_cast<float>(end - begin) : 0.0f);
}

template <class DY, class DX>
__global__ void mean_backward_kernel(const DY* dy, Rows segments, DX* dx, int cols) {
  const int s = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
  if (!is_inside(segments, s) || column >= cols) return;
  const int begin = segments.begin[s], end = segments.end[s];
  const DX d = from_float<DX>(to_float(dy[int64_t{s} * cols + column]) / static_cast<float>(end - begin));
  for (int n = begin; n < end; ++n) dx[int64_t{n} * cols + column] = d;
}

dim3 grid_of(const Segments& segments, int64_t cols) { return blocks(segments.count(), cut(cols, threads)); }

}  // namespace

void CudaOps::segment_mean_forward(const SegmentMeanForwardArgs& a) {
  const char* name = "segment_mean_forward";
  const Operation operation(name, {a.x, a.y});
  check_segment_mean(name, "x", a.x, "y", a.y, a.segments);
  const Rows segments(a.segments, a.x, device_.fault());
  with_device_elements(a.x, [&]<class X>(X* x) {
    with_device_elements(a.y, [&]<class Y>(Y* y) {
      launch(mean_kernel<X, Y>, grid_of(a.segments, a.x.cols()), threads, 0, stream(), x, segments, y,
             static_cast<int>(a.x.cols()));
    });
  });
}

void CudaOps::segment_mean_backward(const SegmentMeanBackwardArgs& a) {
  const char* name = "segment_mean_backward";
  const Operation operation(name, {a.dy, a.dx});
  check_segment_mean(name, "dx", a.dx, "dy", a.dy, a.segments);
  const Rows segments(a.segments, a.dx, device_.fault());
  with_device_elements(a.dy, [&]<class DY>(DY* dy) {
    with_device_elements(a.dx, [&]<class DX>(DX* dx) {
      launch(mean_backward_kernel<DY, DX>, grid_of(a.segments, a.dx.cols()), threads, 0, stream(), dy, segments, dx,
             static_cast<int>(a.dx.cols()));
    });
  });
}

}  // namespace engine::cuda
