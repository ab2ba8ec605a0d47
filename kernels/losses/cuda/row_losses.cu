#include "kernels/losses/cuda/row_losses.h"

#include "kernels/cuda/block.h"
#include "kernels/cuda/launch.h"

namespace engine::cuda {
namespace {

constexpr int threads_of_sum = 1024;

// Sums all losses by one block, since a loss a row is little work. `right` may be null. Rows are counted in totals[1]
// only where that is asked for.
__global__ void __launch_bounds__(threads_of_sum) sum_of_losses(const float* losses, const float* right, int64_t rows,
                                                         float* totals, bool counts) {
  double sum = 0, right_rows = 0;
  for (int64_t row = threadIdx.x; row < rows; row += threads_of_sum) {
    sum += static_cast<double>(losses[row]);
    if (right) right_rows += static_cast<double>(right[row]);
  }
  sum = block_sum(sum);
  if (right) right_rows = block_sum(right_rows);
  if (threadIdx.x != 0) return;
  totals[0] += static_cast<float>(sum);
  if (counts) totals[1] += static_cast<float>(rows);
  if (right) totals[2] += static_cast<float>(right_rows);
}

}  // namespace

void add_row_losses(const Device& device, const float* losses, int64_t rows, float* totals, const float* right) {
  launch(sum_of_losses, blocks(1), threads_of_sum, 0, device.compute_stream(), losses, right, rows, totals, true);
}

void add_losses(const Device& device, const float* losses, int64_t rows, float* total) {
  const float* const no_right = nullptr;
  launch(sum_of_losses, blocks(1), threads_of_sum, 0, device.compute_stream(), losses, no_right, rows, total, false);
}

}  // namespace engine::cuda
