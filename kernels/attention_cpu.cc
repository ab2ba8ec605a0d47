#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::attention_forward(const AttentionForwardArgs&) { fail("attention_forward is being written"); }
void CpuOps::attention_backward(const AttentionBackwardArgs&) { fail("attention_backward is being written"); }

}  // namespace engine::ENGINE_ISA
