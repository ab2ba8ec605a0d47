#include "kernels/losses/cuda/row_losses.h"

#include "kernels/cuda/block.h"
#include "kernels/cuda/launch.h"

namespace engine::cuda {
namespace {

constexpr int threads = 1024;

struct WarpDoubles {
  double of_warp[threads / warp_size];
};

// One block: a loss a row is little.
__global__ void __launch_bounds__(threads) sum_of_losses(const float* losses, int64_t rows, float* totals) {
  WarpDoubles& shared = block_shared<WarpDoubles>();
  const int thread = static_cast<int>(threadIdx.x);
  double sum = 0;
  for (int64_t row = thread; row < rows; row += threads) sum += static_cast<double>(losses[row]);
  for (int distance = warp_size / 2; distance > 0; distance /= 2) sum += shuffle_xor(sum, distance);
  if (thread % warp_size == 0) shared.of_warp[thread / warp_size] = sum;
  sync_block();
  if (thread != 0) return;
  double total = 0;
  for (const double of_warp : shared.of_warp) total += of_warp;
  totals[0] += static_cast<float>(total);
  totals[1] += static_cast<float>(rows);
}

}  // namespace

void add_row_losses(const Device& device, const float* losses, int64_t rows, float* totals) {
  launch(sum_of_losses, blocks(1), threads, 0, device.compute_stream(), losses, rows, totals);
}

}  // namespace engine::cuda
