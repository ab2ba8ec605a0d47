#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::layernorm_forward(const LayerNormForwardArgs&) { fail("layernorm_forward is being written"); }
void CpuOps::layernorm_backward(const LayerNormBackwardArgs&) { fail("layernorm_backward is being written"); }

}  // namespace engine::ENGINE_ISA
