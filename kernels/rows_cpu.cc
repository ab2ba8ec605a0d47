#include "kernels/cpu_ops.h"

namespace engine::ENGINE_ISA {

void CpuOps::gather_rows(const RowsArgs&) { fail("gather_rows is being written"); }
void CpuOps::scatter_rows(const RowsArgs&) { fail("scatter_rows is being written"); }

}  // namespace engine::ENGINE_ISA
