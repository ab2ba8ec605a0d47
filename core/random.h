// Random numbers by counter (Philox 4x32-10, Salmon, Moraes, Dror and Shaw 2011). A number is a function of key and
// counter, so that every backend gets the same numbers, at any number of threads or ranks, and when a step is
// recomputed.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "core/tensor.h"

namespace engine {

constexpr std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

// A sequence of numbers for everything on the host that draws: initialisation, shuffling, data. `stream` keeps the
// uses apart. Seed, stream and position are its whole state, so that it can be saved and resumed.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  uint32_t bits() {
    if (position_ % 4 == 0 || !filled_) {
      block_ = philox({static_cast<uint32_t>(position_ / 4), static_cast<uint32_t>((position_ / 4) >> 32),
                       static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)}, seed_);
      filled_ = true;
    }
    return block_[position_++ % 4];
  }
  // Draws from [0, 1), uniformly, with 24 bits.
  float uniform() { return static_cast<float>(bits() >> 8) * 0x1p-24f; }
  // Draws from 0 ... n-1, uniformly, without bias (Lemire's multiplication with rejection).
  uint32_t below(uint32_t n) {
    uint64_t product = uint64_t{bits()} * n;
    if (static_cast<uint32_t>(product) < n) {
      const uint32_t threshold = (0u - n) % n;
      while (static_cast<uint32_t>(product) < threshold) product = uint64_t{bits()} * n;
    }
    return static_cast<uint32_t>(product >> 32);
  }
  // Draws from the standard normal distribution (Box-Muller).
  float normal() {
    const float u = (static_cast<float>(bits() >> 8) + 0.5f) * 0x1p-24f, v = static_cast<float>(bits() >> 8) * 0x1p-24f;
    return std::sqrt(-2.0f * std::log(u)) * std::cos(6.2831853f * v);
  }

  uint64_t position() const { return position_; }
  void seek(uint64_t position) {
    position_ = position;
    filled_ = false;
  }

 private:
  uint64_t seed_, stream_, position_ = 0;
  std::array<uint32_t, 4> block_{};
  bool filled_ = false;
};

// Dropout says which elements of a tensor are dropped. Element e (row-major, counted from the first row of the
// optimizer step's whole batch, over all micro-batches and ranks) is dropped where
//   philox({e/4 low, e/4 high, site, step}, seed)[e % 4] < rate * 2^32,
// and others are scaled by 1 / (1 - rate). With rate 0 nothing is dropped, and with rate 1 all of them are 0.
struct Dropout {
  float rate = 0;
  uint64_t seed = 0;
  uint32_t site = 0;   // a dropout of the model, and its run in the step
  uint32_t step = 0;   // optimizer step
  int64_t first_row = 0;
  Tensor counters;     // optional, i32 [3]: step, low and high half of first_row, which a device reads there

  constexpr uint32_t threshold() const {
    return rate < 1 ? static_cast<uint32_t>(static_cast<double>(rate) * 4294967296.0) : UINT32_MAX;
  }
  constexpr float scale() const { return rate < 1 ? 1.0f / (1.0f - rate) : 0.0f; }
  constexpr bool drops(int64_t element) const {
    const uint64_t block = static_cast<uint64_t>(element) / 4;
    return philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), site, step},
                  seed)[static_cast<size_t>(element % 4)] < threshold();
  }
};

}  // namespace engine
