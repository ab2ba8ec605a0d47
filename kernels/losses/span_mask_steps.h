// The steps of span_mask_loss over a part of a sequence's rows, from what is known of the rows before and behind it.
// The CPU takes a sequence as a single part, a device one part a thread. All sums over probabilities are logarithms.
#pragma once

#include <cmath>

#include "kernels/host_device.h"

namespace engine {

// Returns log(e^x + e^y). A NaN gives a NaN.
ENGINE_HOST_DEVICE inline float log_add(float x, float y) {
  const float high = x < y ? y : x, low = x < y ? x : y;
  return high == -INFINITY ? low : high + std::log1p(std::exp(low - high));
}

// Sums over some rows, which add up.
struct SpanMaskSums {
  float first = -INFINITY, last = -INFINITY;  // log of the sum of e^z and of e^r
  float covered = 0;                          // sum of the mask

  ENGINE_HOST_DEVICE void add(const SpanMaskSums& other) {
    first = log_add(first, other.first);
    last = log_add(last, other.last);
    covered += other.covered;
  }
};

// Sums of the gradients' coefficients over some rows, which add up.
struct SpanMaskCoefficients {
  float covered = 0;                            // sum of m
  float outside = -INFINITY;                    // log of the sum of (1 - m) A B / (1 - q)
  float first_over = -INFINITY, first_out = 0;  // log of the sum of m A'/A, and the sum of (1 - m) A' B / (1 - q)
  float last_over = -INFINITY, last_out = 0;    // the same with A and B exchanged

  ENGINE_HOST_DEVICE void add(const SpanMaskCoefficients& other) {
    covered += other.covered;
    outside = log_add(outside, other.outside);
    first_over = log_add(first_over, other.first_over);
    first_out += other.first_out;
    last_over = log_add(last_over, other.last_over);
    last_out += other.last_out;
  }
};

// The rows of one sequence, and scratch for them.
struct SpanMaskRows {
  const float* logits;  // [n, 2]
  const float* mask;    // [n]
  float* scratch;       // [5, n]: logarithms of A, A', B, B' and 1 - q
  int n;

  ENGINE_HOST_DEVICE float& a(int i) const { return scratch[i]; }
  ENGINE_HOST_DEVICE float& a_rest(int i) const { return scratch[n + i]; }
  ENGINE_HOST_DEVICE float& b(int i) const { return scratch[2 * n + i]; }
  ENGINE_HOST_DEVICE float& b_rest(int i) const { return scratch[3 * n + i]; }
  ENGINE_HOST_DEVICE float& rest(int i) const { return scratch[4 * n + i]; }

  ENGINE_HOST_DEVICE SpanMaskSums sums(int begin, int end) const {
    SpanMaskSums result;
    for (int i = begin; i < end; ++i) result.add({logits[2 * i], logits[2 * i + 1], mask[i]});
    return result;
  }

  // Writes the scratch of rows begin ... end-1, and returns the sum of their losses. `before` and `behind` are the sums
  // of the sequence's rows on both sides, `all` those of all its rows.
  ENGINE_HOST_DEVICE float loss(int begin, int end, SpanMaskSums before, SpanMaskSums behind,
                                const SpanMaskSums& all) const {
    float first = before.first - all.first, last = before.last - all.last;
    for (int i = begin; i < end; ++i) {
      a(i) = first = log_add(first, logits[2 * i] - all.first);
      b_rest(i) = last;
      last = log_add(last, logits[2 * i + 1] - all.last);
    }
    first = behind.first - all.first, last = behind.last - all.last;
    float sum = 0;
    for (int i = end - 1; i >= begin; --i) {
      a_rest(i) = first;
      first = log_add(first, logits[2 * i] - all.first);
      b(i) = last = log_add(last, logits[2 * i + 1] - all.last);
      rest(i) = log_add(a_rest(i), a(i) + b_rest(i));
      const float m = mask[i];
      if (m > 0) sum -= m * (a(i) + b(i));
      if (m < 1) sum -= (1 - m) * rest(i);
    }
    return sum;
  }

  ENGINE_HOST_DEVICE SpanMaskCoefficients coefficients(int i) const {
    SpanMaskCoefficients c;
    const float m = mask[i];
    c.covered = m;
    if (m > 0) {
      c.first_over = std::log(m) + a_rest(i) - a(i);
      c.last_over = std::log(m) + b_rest(i) - b(i);
    }
    if (m < 1) {
      c.outside = std::log(1 - m) + a(i) + b(i) - rest(i);
      c.first_out = (1 - m) * std::exp(a_rest(i) + b(i) - rest(i));
      c.last_out = (1 - m) * std::exp(b_rest(i) + a(i) - rest(i));
    }
    return c;
  }
  ENGINE_HOST_DEVICE SpanMaskCoefficients coefficients(int begin, int end) const {
    SpanMaskCoefficients result;
    for (int i = begin; i < end; ++i) result.add(coefficients(i));
    return result;
  }

  // Adds the gradients of rows begin ... end-1 to dlogits [n, 2], from the coefficients on both sides of them.
  ENGINE_HOST_DEVICE void gradient(int begin, int end, SpanMaskCoefficients before, SpanMaskCoefficients behind,
                                   const SpanMaskSums& all, float scale, float* dlogits) const {
    for (int i = begin; i < end; ++i) {
      const float p = logits[2 * i] - all.first, o = logits[2 * i + 1] - all.last;
      dlogits[2 * i] += scale * (std::exp(p) * before.covered - std::exp(p + before.outside));
      before.add(coefficients(i));
      dlogits[2 * i + 1] += scale * (std::exp(o) * before.last_out - std::exp(o + before.last_over));
    }
    for (int i = end - 1; i >= begin; --i) {
      const float p = logits[2 * i] - all.first, o = logits[2 * i + 1] - all.last;
      dlogits[2 * i + 1] += scale * (std::exp(o) * behind.covered - std::exp(o + behind.outside));
      behind.add(coefficients(i));
      dlogits[2 * i] += scale * (std::exp(p) * behind.first_out - std::exp(p + behind.first_over));
    }
  }
};

}  // namespace engine
