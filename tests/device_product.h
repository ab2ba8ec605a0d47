// Matrix products on a device, by each of the libraries that may multiply.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend/backend.h"
#include "tests/operation.h"

namespace engine::test {

struct ProductForm {
  int64_t M, N, K;
  DType compute, c;
  bool transpose_a, transpose_b;
  Activation activation = Activation::none;
};

// Returns c of a backend of its own, which is told who multiplies. Inputs are the same every time, or their magnitudes.
inline std::vector<double> product_by(const char* who, const std::string& device, const ProductForm& f,
                                      bool of_magnitudes = false) {
  const std::unique_ptr<Ops> ops = make_ops(device, {.matmul = who});
  Arena arena(ops->memory(), size_t{1} << 30);
  Bench bench{*ops, arena, f.compute};
  const Tensor a = bench.normal(f.compute, f.transpose_a ? Shape{f.K, f.M} : Shape{f.M, f.K});
  const Tensor b = bench.normal(f.compute, f.transpose_b ? Shape{f.N, f.K} : Shape{f.K, f.N});
  const Tensor c = bench.unset(f.c, {f.M, f.N}), bias = bench.normal(DType::f32, {f.N});
  if (of_magnitudes)
    for (const Tensor& tensor : {a, b, bias}) bench.fill(tensor, magnitudes(bench.values(tensor)));
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

}  // namespace engine::test
