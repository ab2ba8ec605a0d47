// The mean of the rows of each sequence: a sentence's vector from its tokens' (mean pooling).
//
//   y[s] = 1/n_s sum of x[n] over the rows n of segment s, n_s of them;  an empty segment gives 0
// Backward: dy[s]/dx[n] = 1/n_s for a row of the segment, so dx[n] = dy[s] / n_s. Nothing is saved; segments must not
// overlap. Written: y; dx for the rows of segments.
//
// Numerics: sums in f32, one row after another, divided last; a NaN stays in its column of its sequence.
// Determinism: each element of y is one sum in the order of the rows.
#pragma once

#include "kernels/checks.h"

namespace engine {

// x: the tensor with a row a token, y: with a row a segment. The segments' values are checked where they are.
inline void check_segment_mean(const char* name, const char* x_name, const Tensor& x, const char* y_name,
                               const Tensor& y, const Segments& segments) {
  check_activation(name, x_name, x, x.rows(), x.cols());
  check_activation(name, y_name, y, segments.count(), x.cols());
  check_vector(name, "segments.end", segments.end, DType::i32, segments.count());
}

}  // namespace engine
