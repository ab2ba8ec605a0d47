// Cosines of rows on a device. A warp takes a row. It reads x and y for the three products, and once more, from the
// cache, for the gradient.
#include "kernels/losses/cosine_loss.h"

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/losses/cuda/row_losses.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int warps = 4, width_of_all = 8;  // the same for all dtypes, so that sums do not depend on them

template <class X, class Y, class DX>
struct CosineRows {
  const X* x;
  const Y* y;
  DX* dx;  // may be null
  float* losses;
  int64_t rows;
  int cols;
  float gradient_scale;
  bool accumulate;
};

template <int width, class X, class Y, class DX>
__global__ void __launch_bounds__(warps* warp_size, 8) cosine_of_rows(const CosineRows<X, Y, DX> a) {
  const int64_t row = int64_t{blockIdx.x} * warps + warp_index();
  if (row >= a.rows) return;
  const int lane = lane_index();
  float x[width], y[width], xx = 0, yy = 0, xy = 0;
  for (int col = lane * width; col < a.cols; col += warp_size * width) {
    load_floats(a.x + row * a.cols + col, x);
    load_floats(a.y + row * a.cols + col, y);
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) {
      xx += x[i] * x[i];
      yy += y[i] * y[i];
      xy += x[i] * y[i];
    }
  }
  const CosineOfRow cosine(warp_sum(xx), warp_sum(yy), warp_sum(xy), a.gradient_scale);
  if (lane == 0) a.losses[row] = cosine.loss;
  if (!a.dx) return;
  for (int col = lane * width; col < a.cols; col += warp_size * width) {
    load_floats(a.x + row * a.cols + col, x);
    load_floats(a.y + row * a.cols + col, y);
    float before[width] = {};
    if (a.accumulate) load_floats(a.dx + row * a.cols + col, before);
    ENGINE_UNROLL
    for (int i = 0; i < width; ++i) before[i] += x[i] * cosine.of_x + y[i] * cosine.of_y;
    store_floats(a.dx + row * a.cols + col, before);
  }
}

}  // namespace

void CudaOps::cosine_loss(const CosineLossArgs& args) {
  const Operation operation("cosine_loss", {args.x, args.y});
  check_cosine_loss(args);
  const int64_t rows = args.x.rows(), cols = args.x.cols();
  if (!rows) return;
  const ArenaScope scope(workspace_);
  float* const losses = room_for_losses(args.row_losses, rows, workspace_);
  with_device_elements(args.x, [&]<class X>(X* x) {
    with_device_elements(args.y, [&]<class Y>(Y* y) {
      with_device_elements(args.dx, [&]<class DX>(DX* dx) {
        const CosineRows<X, Y, DX> a{x, y, dx, losses, rows, static_cast<int>(cols), args.gradient_scale,
                                     args.accumulate};
        with_width<width_of_all>(takes_vectors(width_of_all, cols, {x, y, dx}), [&](auto width) {
          launch(cosine_of_rows<width.value, X, Y, DX>, blocks(ceil_div(rows, warps)), warps * warp_size, 0, stream(),
                 a);
        });
      });
    });
  });
  add_row_losses(device_, losses, rows, args.totals.as<float>());
}

}  // namespace engine::cuda
