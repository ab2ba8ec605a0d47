// Matrix products on the CUDA device: the parts that the operation, our own kernels and cuBLASLt share.
//
// An operand is first brought into the dtype that is multiplied, with rows that begin at multiples of 16 bytes and end
// with zeros, unless it has that form. So kernels copy whole 16-byte pieces and need no case for odd sizes. Then
// cuBLASLt multiplies where it is there and has a kernel for the product, else one of our own kernels does:
//   bf16  tensor cores, tiles of 128 x 128 or 64 x 64 by 32 (matmul/cuda/tensor_cores.h)
//   f32   fused multiply-adds, tiles of 64 x 64 by 16 (matmul/cuda/fma.h)
// A small product over a long K is divided along K into parts, which are added in their order.
//
// Row sums of a, the gradient of a bias, take a pass over a. Under matmul = "cublaslt" they come from cuBLASLt (the
// BGRADB epilogue) where it multiplies a without a copy and has such a kernel.
//
// The option `matmul` is auto (as above), own, or cublaslt. The last is an error where the library is not there, and a
// product without a kernel in it is still ours.
//
// Numerics beside matmul.h: cuBLASLt takes a bias rounded to bf16 where c is bf16. Where our own kernel does an
// activation or its derivative after cuBLASLt's product, t is rounded to c's dtype before.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "core/arena.h"
#include "core/cuda/device.h"
#include "kernels/cuda/matrix.h"
#include "kernels/ops.h"

namespace engine::cuda {

// Holds `outer` rows of op(a), or columns of op(b), by k. Element (i, k) is at i stride + k, or else at k stride + i.
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

// Describes what is done with a product's sums: t = sums + bias; before = t; c (+)= act(t), or t act'(gradient_at).
struct Epilogue {
  DeviceMatrix c, before, gradient_at;
  const float* bias = nullptr;
  Activation activation = Activation::none;
  bool accumulate = false;
};

struct Product {
  Factor a, b;
  DType compute;
  Epilogue epilogue;
  float* a_row_sums = nullptr;  // [i] += sum of a's row i, may be null
};

class LibraryProducts;  // kernels/matmul/cuda/cublaslt.h

// Chooses who multiplies, and keeps the scratch and plans that this needs.
class MatrixProducts {
 public:
  // Takes the option `matmul` as `choice`.
  MatrixProducts(const Device& device, Arena& workspace, const std::string& choice);
  ~MatrixProducts();

  // Multiplies factors of any stride. Errors are those of a launch.
  void multiply(const Product& product);
  // Adds `count` rows of `cols` elements, one after another, to sums, in their order.
  void add_parts(const float* parts, int64_t count, int64_t cols, float* sums);
  // Writes rows of `stride` elements of `dtype`, which end with zeros.
  void convert(const Factor& from, DType dtype, int64_t stride, void* to);
  // Does the same transposed: row i of `to` is column i.
  void convert_transposed(const Factor& from, DType dtype, int64_t stride, void* to);

 private:
  Factor prepared(const Factor& factor, DType dtype, bool zeros_behind_rows);
  bool multiply_matrices(const Product& product);
  void add_row_sums(const Factor& a, float* sums);

  const Device& device_;
  Arena& workspace_;
  std::unique_ptr<LibraryProducts> library_;
};

// Returns the length of a row of `count` elements where rows begin at multiples of 16 bytes.
int64_t padded(int64_t count, DType dtype);

// Multiplies factors of one dtype by our own kernels, in the form that prepared() gives.
void multiply_by_own_kernel(const Product& product, Arena& workspace, cudaStream_t stream);
// Computes c and before from sums: `parts` matrices [rows][cols], one after another, are added in their order. The sums
// may lie in before's or c's own memory.
void finish_product(const DeviceMatrix& sums, int64_t parts, int64_t rows, int64_t cols, const Epilogue& epilogue,
                    cudaStream_t stream);

}  // namespace engine::cuda
