// Checks the arguments of matrix products on the CPU and chooses a kernel.
#include "kernels/matmul/matmul.h"

#include "kernels/cpu/cpu_ops.h"
#include "kernels/matmul/cpu/f32_product.h"

namespace engine::ENGINE_ISA {

size_t CpuOps::packed_bytes(int64_t k, int64_t n, DType compute) {
  if (compute == DType::bf16 && unit_) return unit_->packed_bytes(k, n);
  return static_cast<size_t>(ceil_div(n, KernelF32::cols) * KernelF32::cols * k) * sizeof(float);
}

void CpuOps::pack_matrix(const PackArgs& args) {
  const Operand b = Operand::right(args.b, args.transpose_b);
  check_pack(args, packed_bytes(b.k, b.outer, args.compute));
  if (args.compute == DType::bf16 && unit_) return unit_->pack(args);
  void* const packed = args.packed.as<uint8_t>();
  ProductF32::pack_all(b, args.compute == DType::bf16, static_cast<float*>(packed));
}

void CpuOps::matmul(const MatmulArgs& args) {
  const Operand a = Operand::left(args.a, args.transpose_a), b = Operand::right(args.b, args.transpose_b);
  check_matmul(args, packed_bytes(b.k, b.outer, args.compute));
  ArenaScope scope(workspace_);
  const bool rounds = args.compute == DType::bf16;
  if (args.c.count() > 0) {
    if (rounds && unit_) unit_->matmul(args, workspace_);
    else ProductF32(args, rounds, workspace_).run();
  } else if (args.a_row_sums) {
    add_row_sums(a, args.a_row_sums.as<float>());
  }
}

}  // namespace engine::ENGINE_ISA
