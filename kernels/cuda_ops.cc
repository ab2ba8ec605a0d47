#include "kernels/cuda_ops.h"

#include "kernels/cuda_backend.h"
#include "kernels/matmul_cuda.h"

namespace engine::cuda {

CudaOps::CudaOps() = default;
CudaOps::~CudaOps() = default;

std::unique_ptr<Ops> make_cuda_ops() { return std::make_unique<CudaOps>(); }

}  // namespace engine::cuda
