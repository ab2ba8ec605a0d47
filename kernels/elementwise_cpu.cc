#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::copy(const CopyArgs&) { fail("copy is being written"); }
void CpuOps::lerp(const LerpArgs&) { fail("lerp is being written"); }

}  // namespace engine::ENGINE_ISA
