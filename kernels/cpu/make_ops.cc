#include "kernels/cpu/cpu_ops.h"

namespace engine::ENGINE_ISA {

std::unique_ptr<Ops> make_ops() { return std::make_unique<CpuOps>(); }

}  // namespace engine::ENGINE_ISA
