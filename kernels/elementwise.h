// Operations of one element each.
//
//   copy: y = x, cast to y's dtype (f32 and bf16 to each other; any dtype to itself)
//   lerp: y += t (x - y): t = 0 leaves y, t = 1 makes it x up to a rounding (Lookahead, averages of weights)
// Numerics: casting rounds to nearest, ties to even, and keeps NaNs; copies of one dtype keep the bits. Both are bound
// by memory.
#pragma once

#include "kernels/ops.h"
