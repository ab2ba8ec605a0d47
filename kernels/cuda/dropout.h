// Dropout in kernels, with the counters of core/random.h.
#pragma once

#include <array>
#include <cstdint>

#include "core/random.h"
#include "kernels/cuda/intrinsics.h"

namespace engine::cuda {

// Holds the part of a Dropout that kernels need. One draw serves four consecutive elements.
struct DropoutDraws {
  uint64_t seed;
  uint32_t site, step, threshold;
  float scale;  // factor of kept elements
  int64_t first_row;

  explicit DropoutDraws(const Dropout& dropout)
      : seed(dropout.seed), site(dropout.site), step(dropout.step), threshold(dropout.threshold()),
        scale(dropout.scale()), first_row(dropout.first_row) {}
  // Draws for the elements 4 block ... 4 block + 3. Those below the threshold are dropped.
  __device__ __forceinline__ std::array<uint32_t, 4> words(uint64_t block) const {
    return philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), site, step}, seed);
  }
};

}  // namespace engine::cuda
