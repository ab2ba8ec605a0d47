// Dropout in kernels, as core/random.h counts it.
#pragma once

#include <array>
#include <cstdint>

#include "core/random.h"
#include "kernels/cuda/intrinsics.h"

namespace engine::cuda {

// What every kernel that drops needs of a Dropout: one draw serves four consecutive elements.
struct DropoutDraws {
  uint64_t seed;
  uint32_t site, step, threshold;
  float scale;  // of what is kept
  int64_t first_row;

  explicit DropoutDraws(const Dropout& of)
      : seed(of.seed), site(of.site), step(of.step), threshold(of.threshold()), scale(of.scale()),
        first_row(of.first_row) {}
  // Of elements 4 block ... 4 block + 3: those below the threshold are dropped.
  __device__ __forceinline__ std::array<uint32_t, 4> words(uint64_t block) const {
    return philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), site, step}, seed);
  }
};

}  // namespace engine::cuda
