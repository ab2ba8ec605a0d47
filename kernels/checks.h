// Checks of operations' arguments. An error names the operation, the argument, its shape and the right one.
#pragma once

#include <type_traits>

#include "kernels/arguments.h"

namespace engine {

// Requires a tensor of this dtype that holds a matrix of these sizes (any shape whose last dimension are the columns).
inline void check_matrix(const char* operation, const char* name, const Tensor& tensor, DType dtype, int64_t rows,
                         int64_t cols) {
  require(tensor.data || rows == 0 || cols == 0, operation, ": ", name, " is missing");
  require(tensor.dtype == dtype, operation, ": ", name, " is ", name_of(tensor.dtype), ", not ", name_of(dtype));
  if (tensor.count() != rows * cols || (tensor.cols() != cols && rows))
    fail(operation, ": ", name, " is ", tensor.shape.text(), ", not [", rows, ", ", cols, "]");
}

// Requires the same of an activation or its gradient, which may be f32 or bf16.
inline void check_activation(const char* operation, const char* name, const Tensor& tensor, int64_t rows,
                             int64_t cols) {
  require(tensor.dtype == DType::f32 || tensor.dtype == DType::bf16, operation, ": ", name, " is ",
          name_of(tensor.dtype), ", not f32 or bf16");
  check_matrix(operation, name, tensor, tensor.dtype, rows, cols);
}

inline void check_vector(const char* operation, const char* name, const Tensor& tensor, DType dtype, int64_t count) {
  require(tensor.data || count == 0, operation, ": ", name, " is missing");
  require(tensor.dtype == dtype, operation, ": ", name, " is ", name_of(tensor.dtype), ", not ", name_of(dtype));
  if (tensor.count() != count) fail(operation, ": ", name, " is ", tensor.shape.text(), ", not [", count, "]");
}

// Requires `width` columns of a matrix.
inline void check_columns(const char* operation, const char* name, const Columns& columns, int64_t rows,
                          int64_t width) {
  check_activation(operation, name, columns.matrix, rows, columns.matrix.cols());
  require(columns.begin >= 0 && columns.begin + columns.width <= columns.matrix.cols(), operation, ": ", name,
          " is columns ", columns.begin, " to ", columns.begin + columns.width, " of ", columns.matrix.cols());
  require(columns.width == width, operation, ": ", name, " has ", columns.width, " columns, not ", width);
}

// Requires every one of the indices to lie in 0 ... rows-1 of its table.
inline void check_indices(const char* operation, const char* name, const Tensor& indices, int64_t rows) {
  const int32_t* index = indices.as<int32_t>();
  for (int64_t i = 0; i < indices.count(); ++i)
    require(index[i] >= 0 && index[i] < rows, operation, ": ", name, "[", i, "] is ", index[i], ", not in 0 ... ",
            rows - 1);
}

// Calls body(pointer to the elements) with float* or bf16*, as the tensor holds. An absent tensor gives a null float*.
template <class Body>
void with_elements(const Tensor& tensor, const Body& body) {
  if (tensor.dtype == DType::bf16)
    body(static_cast<bf16*>(tensor.data));
  else
    body(static_cast<float*>(tensor.data));
}

// Calls body(flag) with the flag as a constant.
template <class Body>
void with_flag(bool flag, const Body& body) {
  if (flag) body(std::true_type{});
  else body(std::false_type{});
}

}  // namespace engine
