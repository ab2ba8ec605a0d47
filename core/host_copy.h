// Results of a device on the host.
#pragma once

#include <vector>

#include "core/memory.h"
#include "core/tensor.h"

namespace engine {

// Returns a tensor's elements, which are of type T, once the work that was started before has made them.
template <class T>
std::vector<T> host_copy(Memory& memory, const Tensor& tensor) {
  std::vector<T> numbers(static_cast<size_t>(tensor.count()));
  memory.copy_out(numbers.data(), tensor.data, tensor.bytes());
  return numbers;
}

}  // namespace engine
