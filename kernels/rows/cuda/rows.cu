// Rows by index on a device. A warp takes a row, 16 bytes a lane where the rows of both matrices begin on 16 bytes, and
// reads and writes each element once. An index out of range is a fault, and its row stays as it is.
#include "kernels/rows/rows.h"

#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int warps = 8;  // warps of a block

template <class X, class Y>
struct Rows {
  const X* x;
  Y* y;
  const int32_t* index;
  int64_t x_stride, y_stride;
  int count, limit, width;  // indices, rows they point into, columns
  bool gathers;             // or scatters
  FaultReport fault;
};

template <int width, class X, class Y>
__device__ __forceinline__ void copy_part(const X* x, Y* y) {
  if constexpr (std::is_same_v<X, Y> && width > 1) {
    static_assert(width == Vector16<X>::size);
    store_vector(y, load_vector(x));
  } else if constexpr (std::is_same_v<X, Y>) {
    *y = *x;
  } else {
    float values[width];
    load_floats(x, values);
    store_floats(y, values);
  }
}

template <class X, class Y, int width>
__global__ void __launch_bounds__(warps* warp_size) rows_kernel(const Rows<X, Y> a) {
  const int i = static_cast<int>(blockIdx.x) * warps + warp_index();
  const int lane = lane_index();
  if (i >= a.count) return;
  const int row = a.index[i];
  if (row < 0 || row >= a.limit) {
    const FaultKind kind = a.gathers ? FaultKind::gathered_row : FaultKind::scattered_row;
    if (lane == 0) report_fault(a.fault, kind, i, row, a.limit);
    return;
  }
  const X* const x = a.x + (a.gathers ? row : i) * a.x_stride;
  Y* const y = a.y + (a.gathers ? i : row) * a.y_stride;
  for (int col = lane * width; col < a.width; col += warp_size * width) copy_part<width>(x + col, y + col);
}

void start(const RowsArgs& args, bool gathers, const Device& device) {
  const int64_t width = args.x.width, count = args.index.count();
  if (!width) return;
  with_device_elements(args.x.matrix, [&]<class X>(X* x_matrix) {
    with_device_elements(args.y.matrix, [&]<class Y>(Y* y_matrix) {
      constexpr int vector = vector_width<X, Y>;
      X* const x = x_matrix + args.x.begin;
      Y* const y = y_matrix + args.y.begin;
      const int64_t x_stride = args.x.matrix.cols(), y_stride = args.y.matrix.cols();
      const Rows<X, Y> rows{x, y, args.index.as<int32_t>(), x_stride, y_stride, static_cast<int>(count),
                            static_cast<int>((gathers ? args.x : args.y).matrix.rows()), static_cast<int>(width),
                            gathers, device.fault()};
      const bool vectors = takes_vectors(vector, width, {x, y}) && x_stride % vector == 0 && y_stride % vector == 0;
      launch(vectors ? rows_kernel<X, Y, vector> : rows_kernel<X, Y, 1>, blocks(ceil_div(count, warps)),
             warps * warp_size, 0, device.compute_stream(), rows);
    });
  });
}

}  // namespace

void CudaOps::gather_rows(const RowsArgs& args) {
  const Operation operation("gather_rows", {args.x.matrix, args.index, args.y.matrix});
  check_gather(args);
  start(args, true, device_);
}

void CudaOps::scatter_rows(const RowsArgs& args) {
  const Operation operation("scatter_rows", {args.x.matrix, args.index, args.y.matrix});
  check_scatter(args);
  start(args, false, device_);
}

}  // namespace engine::cuda
