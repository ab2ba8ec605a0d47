// Matrix products: c = act(op(a) op(b) + bias), op(a) [M, K], op(b) [K, N], c [M, N].
//
// A linear layer y = act(t), t = x w^T + bias, x [N, I], w [O, I], and its backward pass are four of these products.
// With L the loss and dy = dL/dy:
//   dt = dy * act'(t)                              elementwise; where dy is itself a product dz v, its epilogue does
//                                                  this: {.a = dz, .b = v, .gradient_at = t, .activation = act}
//   dL/dx[n, i] = sum_o dt[n, o] w[o, i]           dx = dt w            {.a = dt, .b = w}
//   dL/dw[o, i] = sum_n dt[n, o] x[n, i]           dw += dt^T x         {.a = dt, .b = x, .transpose_a, .accumulate}
//   dL/dbias[o] = sum_n dt[n, o]                   the row sums of dt^T {.a_row_sums = dbias} in the product above
// Saved by forward: x, and t where the activation is not the identity (before_activation).
//
// Written (=): c, before_activation; added to (+=): c with accumulate, a_row_sums.
//
// The CPU hands out blocks of c, which follow from the shape alone, to the threads. It packs op(b), and op(a) where
// that cannot be read in place, into panels: a few rows of op(a), or columns of op(b), side by side for every k, so
// that the kernel reads straight ahead whatever the transposes and dtypes are (cpu/pack.h). A kernel multiplies one
// panel of a by one of b:
//   f32   a tile of registers, 14 x 32 with AVX-512, a vector of b times a number of a at a time (cpu/f32_kernel.h), in
//         blocks that fit the caches, long sums in pieces (cpu/f32_product.h). A plain f32 a is read in place unless
//         its rows are a multiple of 4 KiB apart, which the L1 cache cannot hold side by side.
//   bf16  a tile of 32 x 32 sums (cpu/bf16_kernel.h), in four tile registers of AMX or, a few rows after the other,
//         by AVX512_BF16's dot products; op(b) in pairs of k, as both take it (cpu/blocks.h). A bf16 a is read in
//         place if its K is a multiple of 32 or long; of a long one the last terms, which fill no 32, are packed.
// A finished tile goes through its epilogue (cpu/epilogue.h); for bf16 while the next is summed.
//
// Numerics: products are summed in f32, in an order that the shape alone decides: the same bits at any number of
// threads. With bf16 compute the operands are rounded to the nearest bf16, ties to even, and subnormal ones may become
// 0 (the instructions take them so). Without these the f32 kernel multiplies the rounded operands. If c is bf16, a
// backend may round the bias to bf16, and t before it takes the activation or multiplies by act', and a device may take
// a tanh for gelu_tanh that errs by 2^-11 of itself. a_row_sums are of a itself, not rounded. NaN and infinity spread
// along their row and column as in the formula, and no further, for padding never meets stored elements.
#pragma once

#include "kernels/arguments.h"

namespace engine {

// With t = op(a) op(b) + bias, op(a) [M, K], op(b) [K, N], where op transposes if the argument says so:
//   c = act(t), or c = t * act'(gradient_at) where gradient_at is given. With accumulate c += instead.
struct MatmulArgs {
  Tensor a, b;                                // f32 or bf16
  Tensor c;                                   // [M, N], f32 or bf16
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
  DType compute = DType::f32;                 // of the products; bf16 rounds the operands, sums are f32
  Tensor packed_b;                            // optional, op(b) from pack_matrix; b is then only its shape
  Tensor bias;                                // optional, f32 [N]
  Activation activation = Activation::none;
  Tensor before_activation;                   // optional, = t, [M, N] f32 or bf16
  Tensor gradient_at;                         // optional, [M, N] f32 or bf16
  Tensor a_row_sums;                          // optional, f32 [M], += op(a)'s row sums: a bias's gradient where a = dy

  template <class Each>
  void each_tensor(const Each& each) {
    each("a", a, Role::input);
    each("b", b, Role::input);
    each("c", c, accumulate ? Role::both : Role::output);
    each("bias", bias, Role::input);
    each("before_activation", before_activation, Role::output);
    each("gradient_at", gradient_at, Role::input);
    each("a_row_sums", a_row_sums, Role::both);
  }
  double flops() const {
    const int64_t k = transpose_a ? a.rows() : a.cols();
    return 2.0 * static_cast<double>(c.count()) * static_cast<double>(k);
  }
};

// packed = op(b) in the layout that matmul reads fastest, for weights that are used many times between two updates.
struct PackArgs {
  Tensor b;
  bool transpose_b = false;
  DType compute = DType::f32;
  Tensor packed;  // u8 [packed_bytes(K, N, compute)]

  template <class Each>
  void each_tensor(const Each& each) {
    each("b", b, Role::input);
    each("packed", packed, Role::output);
  }
};

struct MatmulSizes {
  int64_t M, N, K;
};
// Returns the sizes that a and b have. K is a's.
MatmulSizes sizes_of(const MatmulArgs& args);
// Checks the arguments. An Error names the first that does not fit. packed_bytes are the bytes that packed_b must have,
// where it is given.
void check_matmul(const MatmulArgs& args, size_t packed_bytes);
// Checks the arguments of pack_matrix. packed_bytes are the bytes that packed must have.
void check_pack(const PackArgs& args, size_t packed_bytes);

}  // namespace engine
