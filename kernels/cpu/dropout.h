// Dropout's random numbers by vectors. They are the same bits as those of Dropout::drops (core/random.h), a counter a
// lane.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "core/random.h"
#include "kernels/cpu/simd.h"

namespace engine::ENGINE_ISA {

struct WideProduct {
  vuint high, low;
};

// Takes the 64-bit products of 32-bit lanes. Processors multiply every other lane to 64 bits, so this multiplies the
// even lanes, then the odd ones, and blends twice.
ENGINE_INLINE WideProduct wide_multiply(vuint a, uint32_t b) {
#if defined(__AVX512F__)
  using wide = uint64_t __attribute__((vector_size(64)));
  const __m512i even = reinterpret_cast<__m512i>(a), factor = reinterpret_cast<__m512i>(vuint{} + b);
  const __m512i odd = reinterpret_cast<__m512i>(reinterpret_cast<wide>(a) >> 32);
  const __m512i even_product = _mm512_maskz_mul_epu32(0xFF, even, factor),
                odd_product = _mm512_maskz_mul_epu32(0xFF, odd, factor);
  return {reinterpret_cast<vuint>(_mm512_mask_shuffle_epi32(odd_product, 0x5555, even_product, _MM_PERM_DDBB)),
          reinterpret_cast<vuint>(_mm512_mask_shuffle_epi32(even_product, 0xAAAA, odd_product, _MM_PERM_CCAA))};
#elif defined(__AVX2__)
  using wide = uint64_t __attribute__((vector_size(32)));
  const __m256i even = reinterpret_cast<__m256i>(a), factor = reinterpret_cast<__m256i>(vuint{} + b);
  const __m256i odd = reinterpret_cast<__m256i>(reinterpret_cast<wide>(a) >> 32);
  const wide even_product = reinterpret_cast<wide>(_mm256_mul_epu32(even, factor));
  const wide odd_product = reinterpret_cast<wide>(_mm256_mul_epu32(odd, factor));
  const wide lower_half = wide{} + 0xFFFFFFFFu;
  return {reinterpret_cast<vuint>((even_product >> 32) | (odd_product & ~lower_half)),
          reinterpret_cast<vuint>((even_product & lower_half) | (odd_product << 32))};
#else
  WideProduct product;
  for (int i = 0; i < lanes; ++i) {
    const uint64_t wide = uint64_t{a[i]} * b;
    product.high[i] = static_cast<uint32_t>(wide >> 32);
    product.low[i] = static_cast<uint32_t>(wide);
  }
  return product;
#endif
}

// Returns the random words of elements 4 b ... 4 b + 3, where b = high:low is the lane's block. word[w] holds element 4
// b + w's.
struct RandomWords {
  vuint word[4];
};
ENGINE_INLINE RandomWords random_words(const Dropout& dropout, vuint block_low, vuint block_high) {
  vuint c0 = block_low, c1 = block_high, c2 = vuint{} + dropout.site, c3 = vuint{} + dropout.step;
  uint32_t k0 = static_cast<uint32_t>(dropout.seed), k1 = static_cast<uint32_t>(dropout.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const WideProduct a = wide_multiply(c0, 0xD2511F53u), b = wide_multiply(c2, 0xCD9E8D57u);
    c0 = b.high ^ c1 ^ k0;
    c1 = b.low;
    c2 = a.high ^ c3 ^ k1;
    c3 = a.low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Returns the factor of an element with this random word: 0 where it is dropped, else 1 / (1 - rate).
ENGINE_INLINE vfloat dropout_factor(vuint word, uint32_t threshold, float scale) {
  return word < threshold ? vfloat{} : splat(scale);
}

// Returns the factors of consecutive elements: at(e) gives those of e ... e + lanes - 1. One call of the generator
// serves 4 lanes elements, so callers walk upwards, and a jump costs a call.
class DropoutFactors {
 public:
  explicit DropoutFactors(const Dropout& dropout) : dropout_(dropout) {}

  vfloat at(int64_t element) {
    if (element < begin_ || element + lanes > begin_ + 4 * lanes) fill(element & ~int64_t{3});
    return load(factors_ + (element - begin_));
  }

 private:
  void fill(int64_t element) {
    begin_ = element;
    const uint64_t first = static_cast<uint64_t>(element) / 4;
    vuint lane;
    for (unsigned i = 0; i < lanes; ++i) lane[i] = i;
    const vuint low = lane + static_cast<uint32_t>(first);
    const vuint carry = low < lane ? vuint{} + 1 : vuint{};
    const vuint high = carry + static_cast<uint32_t>(first >> 32);
    const RandomWords words = random_words(dropout_, low, high);
    const uint32_t threshold = dropout_.threshold();
    const float scale = dropout_.scale();
    vfloat by_word[4];
    for (int w = 0; w < 4; ++w) by_word[w] = dropout_factor(words.word[w], threshold, scale);
    // Element 4 i + w is lane i of word w. This deals out the lanes of words 0 and 2, then of 1 and 3, and then both
    // results in turn.
    vint lower, upper;
    for (int i = 0; i < lanes; ++i) {
      lower[i] = i / 2 + i % 2 * lanes;
      upper[i] = lower[i] + lanes / 2;
    }
    const vfloat even[2] = {__builtin_shuffle(by_word[0], by_word[2], lower),
                            __builtin_shuffle(by_word[0], by_word[2], upper)};
    const vfloat odd[2] = {__builtin_shuffle(by_word[1], by_word[3], lower),
                           __builtin_shuffle(by_word[1], by_word[3], upper)};
    for (int half = 0; half < 2; ++half) {
      store(factors_ + 2 * half * lanes, __builtin_shuffle(even[half], odd[half], lower));
      store(factors_ + (2 * half + 1) * lanes, __builtin_shuffle(even[half], odd[half], upper));
    }
  }

  const Dropout& dropout_;
  int64_t begin_ = -8 * lanes;
  alignas(64) float factors_[4 * lanes];
};

}  // namespace engine::ENGINE_ISA
