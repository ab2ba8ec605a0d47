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
  uint32_t site, threshold;
  float scale;               // factor of kept elements
  const uint32_t* counters;  // step, and low and high half of first_row; null where they are the next two
  uint32_t fixed_step;
  int64_t fixed_first_row;

  explicit DropoutDraws(const Dropout& dropout)
      : seed(dropout.seed), site(dropout.site), threshold(dropout.threshold()), scale(dropout.scale()),
        counters(reinterpret_cast<const uint32_t*>(dropout.counters.as<int32_t>())),
        fixed_step(counters ? 0 : dropout.step), fixed_first_row(counters ? 0 : dropout.first_row) {
    require(!counters || dropout.counters.count() == 3, "dropout has ", dropout.counters.count(), " counters, not 3");
  }
  __device__ __forceinline__ uint32_t step() const { return counters ? counters[0] : fixed_step; }
  __device__ __forceinline__ int64_t first_row() const {
    return counters ? static_cast<int64_t>(uint64_t{counters[2]} << 32 | counters[1]) : fixed_first_row;
  }
  // Draws for the elements 4 block ... 4 block + 3. Those below the threshold are dropped.
  __device__ __forceinline__ std::array<uint32_t, 4> words(uint64_t block) const {
    return philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), site, step()}, seed);
  }
};

}  // namespace engine::cuda
