#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::sample(const SampleArgs&) { fail("sample is being written"); }

}  // namespace engine::ENGINE_ISA
