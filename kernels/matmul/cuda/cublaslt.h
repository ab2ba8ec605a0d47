// Matrix products by cuBLASLt, which is loaded when it is first needed: a program that never multiplies on a device
// does not read its half gigabyte, and a machine without it runs all the same.
//
// cuBLASLt's matrices are column-major. A row-major matrix [rows, cols] is a column-major one [cols, rows], so c =
// op(a) op(b) is asked for as c^T = op(b)^T op(a)^T: cuBLASLt's A is b, its B is a, its m is N and its n is M.
#pragma once

#include <cublasLt.h>

#include <array>
#include <map>
#include <memory>
#include <string>

#include "kernels/matmul/cuda/matmul.h"

namespace engine::cuda {

// The functions that are used of the library.
struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtMatmulDescCreate) operation_create;
  decltype(&cublasLtMatmulDescDestroy) operation_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) operation_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtGetStatusName) status_name;

  // The library, loaded once; null where it is not there.
  static const CublasLt* get();
};

class LibraryProducts {
 public:
  // Null where the option `matmul` says own, or the library is not there; a UsageError where it says cublaslt then.
  static std::unique_ptr<LibraryProducts> make(const Device& device, Arena& workspace, const std::string& choice);
  ~LibraryProducts();
  LibraryProducts(const LibraryProducts&) = delete;
  LibraryProducts& operator=(const LibraryProducts&) = delete;

  // False, and nothing is done, where the library has no kernel for the product. Scratch is `products`' workspace, in
  // the caller's scope. An Error names the operation, the product's sizes and type, and the device.
  bool multiply(const Product& product, MatrixProducts& products);
  // The same of a product with row sums, which are added: the library's A is b, its B is a.
  bool multiply_with_row_sums(const Product& product, MatrixProducts& products);

 private:
  // One call of the library, and what is left to do after it.
  struct Call;
  // Its descriptors and the algorithm chosen for it, kept for all calls that are alike.
  struct Plan;
  using Key = std::array<int64_t, 16>;

  LibraryProducts(const CublasLt& library, const Device& device, Arena& workspace);
  Call fused(const Product& product) const;
  Call in_two_steps(const Product& product) const;
  bool run(const Product& product, Call& call, MatrixProducts& products);
  bool call_library(const Product& product, Call& call, MatrixProducts& products);  // its refusals are thrown
  void* aligned_scratch(size_t bytes);
  Plan& plan_of(const Product& product, const Call& call);
  std::unique_ptr<Plan> make_plan(const Product& product, const Call& call) const;

  const CublasLt& library_;
  const Device& device_;
  Arena& workspace_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace engine::cuda
