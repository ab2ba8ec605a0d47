#include "kernels/cuda/cuda_ops.h"

#include "kernels/attention/cuda/cudnn_attention.h"
#include "kernels/backend/cuda_backend.h"
#include "kernels/cuda/launch.h"
#include "kernels/matmul/cuda/matmul.h"

namespace engine::cuda {

// Loads libraries that options ask for at once, so that the user hears of their absence. cuBLASLt under matmul =
// "auto", half a gigabyte, is loaded at its first use.
CudaOps::CudaOps(const DeviceOptions& options) : options_(options) {
  cudnn_ = CudnnAttention::make(device_, workspace_, options.attention);
  if (options.matmul == "cublaslt") products();
  if (options.synchronous) set_synchronous(true);
}
CudaOps::~CudaOps() {
  if (options_.synchronous) set_synchronous(false);
}

std::unique_ptr<Ops> make_cuda_ops(const DeviceOptions& options) { return std::make_unique<CudaOps>(options); }

}  // namespace engine::cuda
