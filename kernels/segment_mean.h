// The mean of the rows of each sequence: a sentence's vector from its tokens' (mean pooling).
//
//   y[s] = 1/n_s sum of x[n] over the rows n of segment s, n_s of them;  an empty segment gives 0
// Backward: dy[s]/dx[n] = 1/n_s for a row of the segment, so dx[n] = dy[s] / n_s. Nothing is saved; segments must not
// overlap. Written: y; dx for the rows of segments.
//
// Numerics: sums in f32, one row after another, divided last; a NaN stays in its column of its sequence.
// Determinism: each element of y is one sum in the order of the rows.
#pragma once

#include "kernels/ops.h"
