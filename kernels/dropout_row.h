// Dropout of rows by vectors: the rule is core/random.h's.
#pragma once

#include "core/random.h"
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {

// What the elements element, element + 1, ... (one a lane) are multiplied with: 0 where dropped, else 1 / (1 - rate).
ENGINE_INLINE vfloat dropout_factors(const Dropout& dropout, int64_t element) {
  vfloat factors;
  for (int i = 0; i < lanes; ++i) factors[i] = dropout.drops(element + i) ? 0.0f : dropout.scale();
  return factors;
}

}  // namespace engine::ENGINE_ISA
