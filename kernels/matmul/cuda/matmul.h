// Matrix products on the CUDA device: what the operation, the kernels written here and cuBLASLt share.
//
// An operand is first brought into the dtype that is multiplied, with rows that begin at multiples of 16 bytes and
// zeros behind their ends, unless it lies so already. So kernels copy whole 16-byte pieces and none of them has a case
// for odd sizes. Then cuBLASLt multiplies where it is there and has a kernel for the product, else a kernel of our own:
//   bf16  tensor cores, tiles of 128 x 128 or 64 x 64 by 32 (matmul/cuda/tensor_cores.h)
//   f32   fused multiply-adds, tiles of 64 x 64 by 16 (matmul/cuda/fma.h)
// A small product over a long K is cut along K into parts, which are added in their order.
//
// Row sums of a, the gradient of a bias, are cuBLASLt's own (the BGRADB epilogue) where it multiplies a as it lies and
// has a kernel that takes them along; else a pass over a of their own.
//
// The option `matmul` says who multiplies: auto (as above), own, or cublaslt (an error where it is not there; a product
// that it has no kernel for is still ours).
//
// Numerics beside matmul.h: where c is bf16 a bias is rounded to bf16 by cuBLASLt, which takes it so; and where an
// activation or its derivative is taken apart from cuBLASLt's product, t is rounded to c's dtype before.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "core/arena.h"
#include "core/cuda/device.h"
#include "kernels/ops.h"

namespace engine::cuda {

// `outer` rows of op(a), or columns of op(b), by k: element (i, k) at i stride + k, or else at k stride + i.
struct Factor {
  const void* data;
  DType dtype;
  bool k_contiguous;
  int64_t outer, k, stride;  // stride in elements

  int64_t rows() const { return k_contiguous ? outer : k; }
  int64_t cols() const { return k_contiguous ? k : outer; }
  static Factor left(const Tensor& a, bool transposed) {
    return {a.data, a.dtype, !transposed, transposed ? a.cols() : a.rows(), transposed ? a.rows() : a.cols(), a.cols()};
  }
  static Factor right(const Tensor& b, bool transposed) { return left(b, !transposed); }
};

// A matrix that is f32 or bf16, or absent.
struct AnyMatrix {
  char* data = nullptr;
  int64_t stride = 0;  // in elements
  bool is_bf16 = false;

  AnyMatrix() = default;
  AnyMatrix(const Tensor& t)  // NOLINT: a tensor is a matrix whose rows follow one another
      : data(static_cast<char*>(t.data)), stride(t.cols()), is_bf16(t.dtype == DType::bf16) {}
  size_t element_bytes() const { return is_bf16 ? 2 : 4; }
};

// What becomes of a product's sums: t = sums + bias; before = t; c (+)= act(t), or t act'(gradient_at).
struct Epilogue {
  AnyMatrix c, before, gradient_at;
  const float* bias = nullptr;
  Activation activation = Activation::none;
  bool accumulate = false;
};

struct Product {
  Factor a, b;
  DType compute;
  Epilogue epilogue;
  float* a_row_sums = nullptr;  // may be null; [i] += the sum of a's row i, f32, in a fixed order
};

class LibraryProducts;  // kernels/matmul/cuda/cublaslt.h

// Who multiplies, and what that needs between two products.
class MatrixProducts {
 public:
  // choice: the option `matmul`.
  MatrixProducts(const Device& device, Arena& workspace, const std::string& choice);
  ~MatrixProducts();

  // Sizes are the factors' own; for callers that have strides. Errors are those of a launch.
  void multiply(const Product& product);
  // sums[i] += of `parts` matrices of one row, one after another, the elements i.
  void add_parts(const float* parts, int64_t count, int64_t cols, float* sums);
  // In rows of `stride` elements of `dtype`, behind each row's end zeros.
  void convert(const Factor& from, DType dtype, int64_t stride, void* to);
  // The same, and transposed: row i of `to` is column i.
  void convert_transposed(const Factor& from, DType dtype, int64_t stride, void* to);

 private:
  Factor prepared(const Factor& factor, DType dtype, bool zeros_behind_rows);
  bool multiply_matrices(const Product& product);
  void add_row_sums(const Factor& a, float* sums);

  const Device& device_;
  Arena& workspace_;
  std::unique_ptr<LibraryProducts> library_;
};

// Elements that a row of `count` takes where rows begin at multiples of 16 bytes.
int64_t padded(int64_t count, DType dtype);

// The kernels written here: factors of one dtype, in place or as prepared() leaves them.
void multiply_by_own_kernel(const Product& product, Arena& workspace, cudaStream_t stream);
// c and before from sums that are there: `parts` matrices [rows][cols], one after another, are added in their order.
// sums may be before's or c's own memory.
void finish_product(const AnyMatrix& sums, int64_t parts, int64_t rows, int64_t cols, const Epilogue& epilogue,
                    cudaStream_t stream);

}  // namespace engine::cuda
