// The mean of the rows of each sequence: a sentence's vector from its tokens' (mean pooling).
//
//   y[s] = 1/n_s sum of x[n] over the rows n of segment s, n_s of them;  an empty segment gives 0
// Written: y. There is no backward pass: nothing is trained through these vectors.
//
// Numerics: sums in f32, one row after another, divided last; a NaN stays in its column of its sequence.
// Determinism: each element of y is one sum in the order of the rows.
#pragma once

#include "kernels/checks.h"

namespace engine {

struct SegmentMeanForwardArgs {
  Tensor x;           // [N, C]
  Segments segments;
  Tensor y;           // [S, C], =

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    segments.each_tensor("segments.begin", "segments.end", each);
    each("y", y, Role::output);
  }
};

// Checks the arguments but for the segments' values, which each backend checks where they are.
inline void check_segment_mean(const SegmentMeanForwardArgs& args) {
  const char* name = "segment_mean_forward";
  check_activation(name, "x", args.x, args.x.rows(), args.x.cols());
  check_activation(name, "y", args.y, args.segments.count(), args.x.cols());
  check_vector(name, "segments.end", args.segments.end, DType::i32, args.segments.count());
}

}  // namespace engine
