#include "kernels/rows/column_chain.h"

#include "kernels/cpu/cpu_ops.h"

namespace engine::ENGINE_ISA {

// The matrices have two columns or a few, so a single thread is done before others have begun.
void CpuOps::chain_columns_forward(const ChainColumnsForwardArgs& args) {
  check_chain_columns(args);
  const int64_t rows = args.y.rows(), cols = args.y.cols();
  float* const y = args.y.as<float>();
  const float weight = *args.weight.as<float>();
  for (int64_t n = 0; n < rows; ++n) y[n * cols + args.to] += weight * y[n * cols + args.from];
}

void CpuOps::chain_columns_backward(const ChainColumnsBackwardArgs& args) {
  check_chain_columns(args);
  const int64_t rows = args.y.rows(), cols = args.y.cols();
  const float* const y = args.y.as<float>();
  float* const dy = args.dy.as<float>();
  const float weight = *args.weight.as<float>();
  double sum = 0;
  for (int64_t n = 0; n < rows; ++n) {
    const float of_to = dy[n * cols + args.to];
    sum += static_cast<double>(of_to) * static_cast<double>(y[n * cols + args.from]);
    dy[n * cols + args.from] += weight * of_to;
  }
  *args.dweight.as<float>() += static_cast<float>(sum);
}

}  // namespace engine::ENGINE_ISA
