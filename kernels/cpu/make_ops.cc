#include "kernels/cpu/cpu_ops.h"

namespace engine::ENGINE_ISA {

std::unique_ptr<Ops> make_ops(const Bf16Unit* unit) { return std::make_unique<CpuOps>(unit); }

}  // namespace engine::ENGINE_ISA
