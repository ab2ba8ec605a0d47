#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::matmul(const MatmulArgs&) { fail("matmul is being written"); }
void CpuOps::pack_matrix(const PackArgs&) { fail("pack_matrix is being written"); }
size_t CpuOps::packed_bytes(int64_t, int64_t, DType) { return 0; }

}  // namespace engine::ENGINE_ISA
