// Loops over a row by vectors, with one body for whole vectors and for the rest at the row's end.
#pragma once

#include "kernels/cpu/simd.h"

namespace engine::ENGINE_ISA {

// Whole and Part tell how many lanes of a vector a row still has: all, or the first few.
struct Whole {};
struct Part {
  int count;
};

template <class T>
ENGINE_INLINE vfloat load(const T* p, Whole) {
  return load(p);
}
template <class T>
ENGINE_INLINE vfloat load(const T* p, Part part) {
  return load_part(p, part.count);
}
template <class T>
ENGINE_INLINE void store(T* p, vfloat v, Whole) {
  store(p, v);
}
template <class T>
ENGINE_INLINE void store(T* p, vfloat v, Part part) {
  store_part(p, v, part.count);
}

ENGINE_INLINE vint lane_numbers() {
  vint numbers;
  for (int i = 0; i < lanes; ++i) numbers[i] = i;
  return numbers;
}
// Returns v in the lanes that the row has, and zero (or `other`) in the rest.
ENGINE_INLINE vfloat only(vfloat v, Whole, vfloat = vfloat{}) { return v; }
ENGINE_INLINE vfloat only(vfloat v, Part part, vfloat other = vfloat{}) {
  return lane_numbers() < part.count ? v : other;
}

// Calls body(i, Whole or Part) for i = 0, lanes, 2 lanes, ... For example:
//   each_vector(count, [&](int64_t i, auto part) { store(y + i, load(x + i, part), part); })
template <class Body>
ENGINE_INLINE void each_vector(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(i, Whole{});
  if (i < count) body(i, Part{static_cast<int>(count - i)});
}

// Returns the sum of all lanes of body(i, n), which must be zero in lanes that the row has not. There are four running
// sums, so that one addition need not wait for the other, and the order is always the same.
template <class Body>
ENGINE_INLINE float sum_over(int64_t count, const Body& body) {
  vfloat s0{}, s1{}, s2{}, s3{};
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    s0 += body(i, Whole{});
    s1 += body(i + lanes, Whole{});
    s2 += body(i + 2 * lanes, Whole{});
    s3 += body(i + 3 * lanes, Whole{});
  }
  for (; i + lanes <= count; i += lanes) s0 += body(i, Whole{});
  if (i < count) s1 += body(i, Part{static_cast<int>(count - i)});
  return sum((s0 + s1) + (s2 + s3));
}

}  // namespace engine::ENGINE_ISA
