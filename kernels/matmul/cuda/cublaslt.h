// Matrix products by cuBLASLt. The library is loaded at its first use, so that a program without products on a device
// does not read its half gigabyte, and a machine without it can run.
//
// cuBLASLt's matrices are column-major. A row-major matrix [rows, cols] is a column-major one [cols, rows], so that c =
// op(a) op(b) becomes c^T = op(b)^T op(a)^T: cuBLASLt's A is b, its B is a, its m is N and its n is M.
#pragma once

#include <cublasLt.h>

#include <array>
#include <map>
#include <memory>
#include <string>

#include "kernels/matmul/cuda/matmul.h"

namespace engine::cuda {

// Holds the functions that we use of the library.
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

  // Loads the library once, and returns null where it is not there.
  static const CublasLt* get();
};

class LibraryProducts {
 public:
  // Returns null where the option `matmul` says own, or the library is not there. Throws a UsageError if it says
  // cublaslt then.
  static std::unique_ptr<LibraryProducts> make(const Device& device, Arena& workspace, const std::string& choice);
  ~LibraryProducts();
  LibraryProducts(const LibraryProducts&) = delete;
  LibraryProducts& operator=(const LibraryProducts&) = delete;

  // Returns false and does nothing where the library has no kernel for the product. Takes scratch from the workspace in
  // the caller's scope. Throws an Error that names the operation, the product's sizes and type, and the device.
  bool multiply(const Product& product, MatrixProducts& products);
  // Does the same for a product with row sums, and adds these, where the option says cublaslt. With auto it returns
  // false: our own column sums are expected to be faster than BGRADB from bf16 to f32, until both are measured.
  bool multiply_with_row_sums(const Product& product, MatrixProducts& products);

 private:
  // Describes one call of the library, and the work after it.
  struct Call;
  // Holds its descriptors and the algorithm chosen for it, for all calls that are alike.
  struct Plan;
  using Key = std::array<int64_t, 16>;

  LibraryProducts(const CublasLt& library, const Device& device, Arena& workspace, bool sums_rows);
  Call fused(const Product& product) const;
  Call in_two_steps(const Product& product) const;
  bool run(const Product& product, Call& call, MatrixProducts& products);
  bool call_library(const Product& product, Call& call, MatrixProducts& products);  // throws the library's refusals
  void* aligned_scratch(size_t bytes);
  Plan& plan_of(const Product& product, const Call& call);
  std::unique_ptr<Plan> make_plan(const Product& product, const Call& call) const;

  const CublasLt& library_;
  const Device& device_;
  Arena& workspace_;
  bool sums_rows_;  // takes row sums along
  cublasLtHandle_t handle_ = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace engine::cuda
