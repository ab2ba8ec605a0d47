// Describes a matrix in device memory to kernels. Host code without a CUDA compiler may include it.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace engine::cuda {

// Has f32 or bf16 rows, or is absent where data is null.
struct DeviceMatrix {
  char* data = nullptr;  // first row's first element
  int stride = 0;        // elements from a row to the next
  bool is_bf16 = false;

  DeviceMatrix() = default;
  DeviceMatrix(const Columns& columns)  // the same matrix in other words
      : data(static_cast<char*>(columns.matrix.data) +
             static_cast<size_t>(columns.begin) * size_of(columns.matrix.dtype)),
        stride(static_cast<int>(columns.matrix.cols())),
        is_bf16(columns.matrix.dtype == DType::bf16) {}
  DeviceMatrix(const Tensor& tensor) : DeviceMatrix(tensor ? Columns(tensor) : Columns()) {}  // NOLINT: as above
  int64_t element_bytes() const { return is_bf16 ? 2 : 4; }
  // Returns whether every row begins at a multiple of `width` elements' bytes, and of 16 bytes at most.
  bool takes_vectors(int64_t width) const {
    const int64_t bytes = width * element_bytes() < 16 ? width * element_bytes() : 16;
    return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0 &&
           stride * element_bytes() % bytes == 0;
  }
};

}  // namespace engine::cuda
