#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::activation_forward(const ActivationForwardArgs&) { fail("activation_forward is being written"); }
void CpuOps::activation_backward(const ActivationBackwardArgs&) { fail("activation_backward is being written"); }

}  // namespace engine::ENGINE_ISA
