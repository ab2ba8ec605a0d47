#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::embedding_forward(const EmbeddingForwardArgs&) { fail("embedding_forward is being written"); }
void CpuOps::embedding_backward(const EmbeddingBackwardArgs&) { fail("embedding_backward is being written"); }

}  // namespace engine::ENGINE_ISA
