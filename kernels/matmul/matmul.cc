#include "kernels/matmul/matmul.h"

namespace engine {
namespace {

bool is_float(const Tensor& t) { return t.dtype == DType::f32 || t.dtype == DType::bf16; }

}  // namespace

MatmulSizes sizes_of(const MatmulArgs& args) {
  return {args.transpose_a ? args.a.cols() : args.a.rows(), args.transpose_b ? args.b.rows() : args.b.cols(),
          args.transpose_a ? args.a.rows() : args.a.cols()};
}

void check_matmul(const MatmulArgs& args, size_t packed_bytes) {
  const auto [M, N, K] = sizes_of(args);
  const auto refuse = [&](const char* what, const Tensor& t) {
    fail("matmul: ", what, " is ", name_of(t.dtype), " ", t.shape.text(), " for a ", args.a.shape.text(),
         args.transpose_a ? " transposed" : "", ", b ", args.b.shape.text(), args.transpose_b ? " transposed" : "",
         " and c ", args.c.shape.text());
  };
  if (!is_float(args.a)) refuse("a", args.a);
  if (!is_float(args.b) || K != (args.transpose_b ? args.b.cols() : args.b.rows())) refuse("b", args.b);
  const auto fits = [&, M = M, N = N](const Tensor& t) { return is_float(t) && t.rows() == M && t.cols() == N; };
  if (!fits(args.c)) refuse("c", args.c);
  const auto vector_fits = [](const Tensor& t, int64_t count) {
    return !t || (t.dtype == DType::f32 && t.count() == count);
  };
  if (!vector_fits(args.bias, N)) refuse("bias", args.bias);
  if (!vector_fits(args.a_row_sums, M)) refuse("a_row_sums", args.a_row_sums);
  if (args.before_activation && !fits(args.before_activation)) refuse("before_activation", args.before_activation);
  if (args.gradient_at && !fits(args.gradient_at)) refuse("gradient_at", args.gradient_at);
  if (args.packed_b && args.packed_b.bytes() != packed_bytes) refuse("packed_b", args.packed_b);
  require(args.compute == DType::f32 || args.compute == DType::bf16, "matmul: cannot compute in ",
          name_of(args.compute));
}

void check_pack(const PackArgs& args, size_t packed_bytes) {
  require(is_float(args.b), "pack_matrix: b is ", name_of(args.b.dtype));
  require(args.packed.bytes() == packed_bytes, "pack_matrix: packed has ", args.packed.bytes(), " bytes, must have ",
          packed_bytes);
}

}  // namespace engine
