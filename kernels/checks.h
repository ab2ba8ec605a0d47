// What operations ask of their arguments. An error names the operation, the argument, what it is and what it should be.
#pragma once

#include "kernels/arguments.h"

namespace engine {

// A tensor of this dtype that holds a matrix of these sizes (any shape whose last dimension are the columns).
inline void check_matrix(const char* operation, const char* name, const Tensor& tensor, DType dtype, int64_t rows,
                         int64_t cols) {
  require(tensor.data || rows == 0 || cols == 0, operation, ": ", name, " is missing");
  require(tensor.dtype == dtype, operation, ": ", name, " is ", name_of(tensor.dtype), ", not ", name_of(dtype));
  if (tensor.count() != rows * cols || (tensor.cols() != cols && rows))
    fail(operation, ": ", name, " is ", tensor.shape.text(), ", not [", rows, ", ", cols, "]");
}

// The same for an activation or its gradient: f32 or bf16.
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

// These columns of a matrix, `width` of them.
inline void check_columns(const char* operation, const char* name, const Columns& columns, int64_t rows,
                          int64_t width) {
  check_activation(operation, name, columns.matrix, rows, columns.matrix.cols());
  require(columns.begin >= 0 && columns.begin + columns.width <= columns.matrix.cols(), operation, ": ", name,
          " is columns ", columns.begin, " to ", columns.begin + columns.width, " of ", columns.matrix.cols());
  require(columns.width == width, operation, ": ", name, " has ", columns.width, " columns, not ", width);
}

// Every one of the indices lies in 0 ... rows-1 of the table that it points into.
inline void check_indices(const char* operation, const char* name, const Tensor& indices, int64_t rows) {
  const int32_t* index = indices.as<int32_t>();
  for (int64_t i = 0; i < indices.count(); ++i)
    require(index[i] >= 0 && index[i] < rows, operation, ": ", name, "[", i, "] is ", index[i], ", not in 0 ... ",
            rows - 1);
}

// body(pointer to the elements): float* or bf16*, as the tensor holds. An absent tensor is a null float*.
template <class Body>
void with_elements(const Tensor& tensor, const Body& body) {
  if (tensor.dtype == DType::bf16)
    body(static_cast<bf16*>(tensor.data));
  else
    body(static_cast<float*>(tensor.data));
}

}  // namespace engine
