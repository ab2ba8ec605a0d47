#include "kernels/cuda_ops.h"

#include "kernels/attention_cudnn_cuda.h"
#include "kernels/cuda_backend.h"
#include "kernels/matmul_cuda.h"

namespace engine::cuda {

CudaOps::CudaOps() = default;
CudaOps::~CudaOps() = default;

CudnnAttention& CudaOps::cudnn() {
  if (!cudnn_) cudnn_ = std::make_unique<CudnnAttention>(device_, workspace_);
  return *cudnn_;
}

std::unique_ptr<Ops> make_cuda_ops() { return std::make_unique<CudaOps>(); }

}  // namespace engine::cuda
