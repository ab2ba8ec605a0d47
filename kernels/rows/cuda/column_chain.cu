// Chained columns on a device. A thread takes a row forward. One block goes over all rows backward, since a few bytes a
// row are little work, and adds up the weight's gradient in a fixed order.
#include "kernels/rows/column_chain.h"

#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/sizes.h"

namespace engine::cuda {
namespace {

constexpr int chain_threads = 256, chain_sum_threads = 1024;

__global__ void __launch_bounds__(chain_threads)
    chain_forward(float* y, const float* weight, int64_t rows, int64_t cols, int64_t from, int64_t to) {
  const int64_t n = int64_t{blockIdx.x} * chain_threads + threadIdx.x;
  if (n < rows) y[n * cols + to] += *weight * y[n * cols + from];
}

__global__ void __launch_bounds__(chain_sum_threads)
    chain_backward(const float* y, float* dy, const float* weight, float* dweight, int64_t rows, int64_t cols,
                   int64_t from, int64_t to) {
  const float w = *weight;
  double sum = 0;
  for (int64_t n = threadIdx.x; n < rows; n += chain_sum_threads) {
    const float of_to = dy[n * cols + to];
    sum += static_cast<double>(of_to) * static_cast<double>(y[n * cols + from]);
    dy[n * cols + from] += w * of_to;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) *dweight += static_cast<float>(sum);
}

}  // namespace

void CudaOps::chain_columns_forward(const ChainColumnsForwardArgs& a) {
  const Operation operation("chain_columns_forward", {a.y});
  check_chain_columns(a);
  const int64_t rows = a.y.rows();
  if (!rows) return;
  launch(chain_forward, blocks(ceil_div(rows, int64_t{chain_threads})), chain_threads, 0, stream(), a.y.as<float>(),
         static_cast<const float*>(a.weight.as<float>()), rows, a.y.cols(), a.from, a.to);
}

void CudaOps::chain_columns_backward(const ChainColumnsBackwardArgs& a) {
  const Operation operation("chain_columns_backward", {a.y, a.dy});
  check_chain_columns(a);
  const int64_t rows = a.y.rows();
  if (!rows) return;
  launch(chain_backward, blocks(1), chain_sum_threads, 0, stream(), static_cast<const float*>(a.y.as<float>()),
         a.dy.as<float>(), static_cast<const float*>(a.weight.as<float>()), a.dweight.as<float>(), rows, a.y.cols(),
         a.from, a.to);
}

}  // namespace engine::cuda
