// Operations whose CUDA twin is still being written; each leaves here when its file arrives.
#include "kernels/cuda_ops.h"

namespace engine::cuda {

#define WAITS(method, arguments) \
  __attribute__((weak)) void CudaOps::method(const arguments&) { fail(#method ": not on this device"); }
WAITS(matmul, MatmulArgs)
WAITS(pack_matrix, PackArgs)
__attribute__((weak)) size_t CudaOps::packed_bytes(int64_t, int64_t, DType) { fail("packed_bytes: not on this device"); }

}  // namespace engine::cuda
