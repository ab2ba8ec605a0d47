// Matrix products of bf16, in blocks or, for long sums, in ranges of k.
#include "kernels/cpu/bf16_operations.h"
#include "kernels/matmul/cpu/blocks.h"
#include "kernels/matmul/cpu/long_sums.h"

namespace engine::ENGINE_ISA {

size_t bf16_packed_bytes(int64_t k, int64_t n) {
  return static_cast<size_t>(ceil_div(n, KernelBf16::cols) * KernelBf16::b_panel_elements(k)) * sizeof(bf16);
}

void bf16_pack(const PackArgs& args) {
  void* const packed = args.packed.as<uint8_t>();
  BlockedProduct::pack_b(Operand::right(args.b, args.transpose_b), static_cast<bf16*>(packed));
}

void bf16_matmul(const MatmulArgs& args, Arena& workspace) {
  const Operand a = Operand::left(args.a, args.transpose_a), b = Operand::right(args.b, args.transpose_b);
  if (LongProduct::serves(a, b, static_cast<bool>(args.packed_b))) LongProduct(args, workspace).run();
  else BlockedProduct(args, workspace).run();
}

}  // namespace engine::ENGINE_ISA
