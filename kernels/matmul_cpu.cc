// Matrix products on the CPU: what fits is checked, then a kernel is chosen.
#include "kernels/matmul.h"

#include "kernels/cpu_ops.h"
#include "kernels/matmul_amx.h"
#include "kernels/matmul_blocks.h"
#include "kernels/matmul_f32.h"

namespace engine::ENGINE_ISA {

namespace {

bool is_float(const Tensor& t) { return t.dtype == DType::f32 || t.dtype == DType::bf16; }

void check(const MatmulArgs& args, const Operand& a, const Operand& b, size_t packed_bytes) {
  const auto refuse = [&](const char* what, const Tensor& t) {
    fail("matmul: ", what, " is ", name_of(t.dtype), " ", t.shape.text(), " for a ", args.a.shape.text(),
         args.transpose_a ? " transposed" : "", ", b ", args.b.shape.text(), args.transpose_b ? " transposed" : "",
         " and c ", args.c.shape.text());
  };
  if (!is_float(args.a)) refuse("a", args.a);
  if (!is_float(args.b) || a.k != b.k) refuse("b", args.b);
  const auto fits = [&](const Tensor& t) { return is_float(t) && t.rows() == a.outer && t.cols() == b.outer; };
  if (!fits(args.c)) refuse("c", args.c);
  const auto vector_fits = [](const Tensor& t, int64_t count) {
    return !t || (t.dtype == DType::f32 && t.count() == count);
  };
  if (!vector_fits(args.bias, b.outer)) refuse("bias", args.bias);
  if (!vector_fits(args.a_row_sums, a.outer)) refuse("a_row_sums", args.a_row_sums);
  if (args.before_activation && !fits(args.before_activation)) refuse("before_activation", args.before_activation);
  if (args.gradient_at && !fits(args.gradient_at)) refuse("gradient_at", args.gradient_at);
  if (args.packed_b && args.packed_b.bytes() != packed_bytes) refuse("packed_b", args.packed_b);
  require(args.compute == DType::f32 || args.compute == DType::bf16, "matmul: cannot compute in ",
          name_of(args.compute));
}

}  // namespace

size_t CpuOps::packed_bytes(int64_t k, int64_t n, DType compute) {
  if (compute == DType::bf16 && amx_available()) return amx_packed_bytes(k, n);
  return static_cast<size_t>(cut(n, KernelF32::cols) * KernelF32::b_panel_elements(k)) * sizeof(float);
}

void CpuOps::pack_matrix(const PackArgs& args) {
  const Operand b = Operand::right(args.b, args.transpose_b);
  const size_t bytes = packed_bytes(b.k, b.outer, args.compute);
  require(is_float(args.b), "pack_matrix: b is ", name_of(args.b.dtype));
  require(args.packed.bytes() == bytes, "pack_matrix: packed has ", args.packed.bytes(), " bytes, must have ", bytes);
  if (args.compute == DType::bf16 && amx_available()) return amx_pack(args);
  void* const packed = args.packed.as<uint8_t>();
  BlockedProduct<KernelF32>::pack_b({args.compute == DType::bf16}, b, static_cast<float*>(packed));
}

void CpuOps::matmul(const MatmulArgs& args) {
  const Operand a = Operand::left(args.a, args.transpose_a), b = Operand::right(args.b, args.transpose_b);
  check(args, a, b, packed_bytes(b.k, b.outer, args.compute));
  ArenaScope scope(workspace_);
  const bool rounds = args.compute == DType::bf16;
  if (args.c.count() > 0) {
    if (rounds && amx_available()) amx_matmul(args, workspace_);
    else BlockedProduct<KernelF32>({rounds}, args, workspace_).run();
  } else if (args.a_row_sums) {
    add_row_sums(a, args.a_row_sums.as<float>());
  }
}

}  // namespace engine::ENGINE_ISA
