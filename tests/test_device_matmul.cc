// A device's own products and cuBLASLt's are an oracle for each other; tiles of every size and shape.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "tests/device_product.h"

namespace engine::test {

namespace {

// The two add the same exact products in different orders, see tests/test_matmul.cc.
double tolerance(const ProductForm& f) {
  return (2 * std::sqrt(static_cast<double>(f.K)) + 16) * epsilon_of(DType::f32);
}

}  // namespace

TEST_CASE("matmul on a device: our kernels and cuBLASLt agree, large tiles and parts of K too") {
  for (const std::string& device : other_devices())
    // 128 x 128 tiles; 64 x 64 ones; a K that is cut into parts.
    for (const auto& [M, N, K] : {std::array<int64_t, 3>{1030, 1000, 40}, {100, 72, 88}, {70, 60, 1100}})
      for (int form = 0; form < 4; ++form)
        for (DType compute : {DType::bf16, DType::f32}) {
          if (compute == DType::f32 && M > 1000) continue;  // it has one size of tiles
          const ProductForm f{M, N, K, compute, DType::f32, (form & 1) != 0, (form & 2) != 0, Activation::gelu_tanh};
          CAPTURE(M);
          CAPTURE(form);
          CAPTURE(name_of(compute));
          CHECK_CLOSE(product_by("own", device, f), product_by("cublaslt", device, f), tolerance(f));
        }
}

// A library may choose another algorithm for the layout of a packed b, our own kernels do not.
TEST_CASE("matmul on a device: with b packed before our own kernels give the same bits") {
  for (const std::string& device : other_devices())
    for (const DType compute : {DType::f32, DType::bf16}) {
      const std::unique_ptr<Ops> ops = make_ops(device, {.matmul = "own"});
      Arena arena(ops->memory(), size_t{1} << 30);
      Bench bench{*ops, arena, compute};
      for (const auto& [M, N, K] : {std::array<int64_t, 3>{1, 300, 200}, {64, 200, 77}, {150, 140, 90}}) {
        const Tensor a = bench.normal(compute, {M, K}), b = bench.normal(DType::f32, {K, N});
        const Tensor plain = bench.unset(DType::f32, {M, N}), packed = bench.unset(DType::f32, {M, N});
        const Tensor room = arena.make(DType::u8, {static_cast<int64_t>(ops->packed_bytes(K, N, compute))});
        ops->pack_matrix({.b = b, .compute = compute, .packed = room});
        ops->matmul({.a = a, .b = b, .c = plain, .compute = compute});
        ops->matmul({.a = a, .b = b, .c = packed, .compute = compute, .packed_b = room});
        CHECK(bench.values(plain) == bench.values(packed));
      }
    }
}

}  // namespace engine::test
