#include "kernels/cuda/cuda_ops.h"

#include "kernels/attention/cuda/cudnn_attention.h"
#include "kernels/backend/cuda_backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/matmul/cuda/matmul.h"

namespace engine::cuda {

// What is asked for by name is had now, so that its absence is told at once; cuBLASLt's half gigabyte, where it is only
// made use of, when it is first needed.
CudaOps::CudaOps(const DeviceOptions& options) : options_(options) {
  if (options.attention == "cudnn") cudnn_ = std::make_unique<CudnnAttention>(device_, workspace_);
  if (options.matmul == "cublaslt") products();
  if (options.synchronous) set_synchronous(true);
}
CudaOps::~CudaOps() {
  if (options_.synchronous) set_synchronous(false);
}

std::unique_ptr<Ops> make_cuda_ops(const DeviceOptions& options) { return std::make_unique<CudaOps>(options); }

}  // namespace engine::cuda
