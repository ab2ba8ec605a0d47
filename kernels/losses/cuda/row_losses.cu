#include "kernels/losses/cuda/row_losses.h"

#include "kernels/cuda/block.h"
#include "kernels/cuda/launch.h"

namespace engine::cuda {
namespace {

constexpr int threads = 1024;

// Sums all losses by one block, since a loss a row is little work.
__global__ void __launch_bounds__(threads) sum_of_losses(const float* losses, int64_t rows, float* totals) {
  double sum = 0;
  for (int64_t row = threadIdx.x; row < rows; row += threads) sum += static_cast<double>(losses[row]);
  sum = block_sum(sum);
  if (threadIdx.x != 0) return;
  totals[0] += static_cast<float>(sum);
  totals[1] += static_cast<float>(rows);
}

}  // namespace

void add_row_losses(const Device& device, const float* losses, int64_t rows, float* totals) {
  launch(sum_of_losses, blocks(1), threads, 0, device.compute_stream(), losses, rows, totals);
}

}  // namespace engine::cuda
