// Checks a device's own products against those of cuBLASLt, with tiles of every size and shape.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "tests/device_product.h"

namespace engine::test::test_device_matmul {

namespace {

// Both add the same exact products in different orders. The slope of GELU is at most 1.13, its own error 1e-6 of t.
Values errors(const std::string& device, ProductForm f, const Values& expected) {
  f.activation = Activation::none;
  Values sizes = product_by("own", device, f, /*of_magnitudes=*/true);
  for (double& size : sizes) size *= 2 * 1.13 + 1e-6 / sum_error(f.K);
  return sum_errors(expected, sizes, f.K, f.c);
}

}  // namespace

TEST_CASE("matmul on a device: our kernels and cuBLASLt agree, large tiles and parts of K too") {
  SKIP_WITHOUT_DEVICE();
  for (const std::string& device : other_devices())
    // These have tiles of 128 x 128, tiles of 64 x 64, and a K in several parts.
    for (const auto& [M, N, K] : {std::array<int64_t, 3>{1030, 1000, 40}, {100, 72, 88}, {70, 60, 1100}})
      for (int form = 0; form < 4; ++form)
        for (DType compute : {DType::bf16, DType::f32}) {
          if (compute == DType::f32 && M > 1000) continue;  // it has one size of tiles
          const ProductForm f{M, N, K, compute, DType::f32, (form & 1) != 0, (form & 2) != 0, Activation::gelu_tanh};
          CAPTURE(M);
          CAPTURE(form);
          CAPTURE(std::string(name_of(compute)));
          const Values expected = product_by("cublaslt", device, f);
          CHECK_ELEMENTS(product_by("own", device, f), expected, errors(device, f, expected));
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

}  // namespace engine::test::test_device_matmul
