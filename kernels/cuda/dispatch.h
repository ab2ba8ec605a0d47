// Turns facts of run time into template arguments of kernels, in host code.
#pragma once

#include <type_traits>

#include "core/tensor.h"
#include "kernels/checks.h"
#include "kernels/cuda/intrinsics.h"

namespace engine::cuda {

// Calls body(pointer to the elements) with a float* or a bfloat16*, as `dtype` says.
template <class Body>
void with_device_elements(const void* data, DType dtype, const Body& body) {
  void* const elements = const_cast<void*>(data);
  if (dtype == DType::bf16) body(static_cast<bfloat16*>(elements));
  else body(static_cast<float*>(elements));
}
// Does the same for a tensor's elements. An absent tensor gives a null float*.
template <class Body>
void with_device_elements(const Tensor& tensor, const Body& body) {
  with_device_elements(tensor.data, tensor.dtype, body);
}

// Calls body(std::integral_constant<int, N>) with N = `width` where vectors fit, else with 1.
template <int width, class Body>
void with_width(bool vectors, const Body& body) {
  if (vectors) body(std::integral_constant<int, width>());
  else body(std::integral_constant<int, 1>());
}

}  // namespace engine::cuda
