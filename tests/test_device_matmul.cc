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

}  // namespace engine::test
