// Copies of elements from one dtype to another.
#pragma once

#include <type_traits>

#include "kernels/cpu/vector_loop.h"

namespace engine::ENGINE_ISA {

template <class X, class Y>
ENGINE_INLINE void convert(const X* x, Y* y, int64_t count) {
  if constexpr (std::is_same_v<X, Y>)
    std::memcpy(y, x, static_cast<size_t>(count) * sizeof(X));
  else
    each_vector(count, [&](int64_t i, auto part) { store(y + i, load(x + i, part), part); });
}

}  // namespace engine::ENGINE_ISA
