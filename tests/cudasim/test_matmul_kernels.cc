// Our own products and cuBLASLt's (the simulated device's) are an oracle for each other; tiles of every size and shape.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "kernels/cuda_backend.h"
#include "tests/cudasim/variable.h"
#include "tests/operation.h"

namespace engine::test {

namespace {

struct Form {
  int64_t M, N, K;
  DType compute, c;
  bool transpose_a, transpose_b;
  Activation activation = Activation::none;
};

// c on a backend of its own, which is told who multiplies. Inputs are the same every time.
std::vector<double> product_by(const char* who, const Form& f) {
  const std::unique_ptr<Ops> ops = cuda::make_cuda_ops({.matmul = who});
  Arena arena(ops->memory(), size_t{1} << 30);
  Bench bench{*ops, arena, f.compute};
  const Tensor a = bench.normal(f.compute, f.transpose_a ? Shape{f.K, f.M} : Shape{f.M, f.K});
  const Tensor b = bench.normal(f.compute, f.transpose_b ? Shape{f.N, f.K} : Shape{f.K, f.N});
  const Tensor c = bench.unset(f.c, {f.M, f.N}), bias = bench.normal(DType::f32, {f.N});
  ops->matmul({.a = a,
               .b = b,
               .c = c,
               .transpose_a = f.transpose_a,
               .transpose_b = f.transpose_b,
               .compute = f.compute,
               .bias = bias,
               .activation = f.activation});
  return bench.values(c);
}

// The two add the same exact products in different orders, see tests/test_matmul.cc.
double tolerance(const Form& f) { return (2 * std::sqrt(static_cast<double>(f.K)) + 16) * epsilon_of(DType::f32); }

}  // namespace

TEST_CASE("matmul on a device: our kernels and cuBLASLt agree, large tiles and parts of K too") {
  // 128 x 128 tiles; 64 x 64 ones; a K that is cut into parts.
  for (const auto& [M, N, K] : {std::array<int64_t, 3>{1030, 1000, 40}, {100, 72, 88}, {70, 60, 1100}})
    for (int form = 0; form < 4; ++form)
      for (DType compute : {DType::bf16, DType::f32}) {
        if (compute == DType::f32 && M > 1000) continue;  // it has one size of tiles
        const Form f{M, N, K, compute, DType::f32, (form & 1) != 0, (form & 2) != 0, Activation::gelu_tanh};
        CAPTURE(M);
        CAPTURE(form);
        CAPTURE(name_of(compute));
        CHECK_CLOSE(product_by("own", f), product_by("cublaslt", f), tolerance(f));
      }
}

TEST_CASE("matmul on a device: where cuBLASLt has no algorithm our kernels multiply") {
  const Form f{40, 33, 50, DType::bf16, DType::bf16, false, true, Activation::gelu};
  const std::vector<double> own = product_by("own", f);
  const Variable none("CUDASIM_CUBLASLT", "none");
  CHECK(product_by("cublaslt", f) == own);
}

}  // namespace engine::test
