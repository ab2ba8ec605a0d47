// Matrix products with the AMX kernel, in blocks or, for long sums, in ranges of k.
#include "kernels/matmul/cpu/amx_product.h"

#include "kernels/matmul/cpu/blocks.h"
#include "kernels/matmul/cpu/long_sums.h"

namespace engine::ENGINE_ISA {

size_t amx_packed_bytes(int64_t k, int64_t n) {
  return static_cast<size_t>(ceil_div(n, KernelAmx::cols) * KernelAmx::b_panel_elements(k)) * sizeof(bf16);
}

void amx_pack(const PackArgs& args) {
  void* const packed = args.packed.as<uint8_t>();
  BlockedProduct::pack_b(Operand::right(args.b, args.transpose_b), static_cast<bf16*>(packed));
}

void amx_matmul(const MatmulArgs& args, Arena& workspace) {
  const Operand a = Operand::left(args.a, args.transpose_a), b = Operand::right(args.b, args.transpose_b);
  if (LongProduct::serves(a, b, static_cast<bool>(args.packed_b))) LongProduct(args, workspace).run();
  else BlockedProduct(args, workspace).run();
}

}  // namespace engine::ENGINE_ISA
