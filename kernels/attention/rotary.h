// Rotary positions (Su et al. 2021). Queries and keys are turned by angles that grow with their positions, so that
// their products depend on the distance of the two alone. In a head, the first r of its D dimensions are r/2 pairs
// (i, i + r/2), as GPT-NeoX has them, and the others stay. With t the row's position and base b
//
//   f_i = b^(-2i/r),  a = t f_i
//   y_i = x_i cos a - x_{i+r/2} sin a,   y_{i+r/2} = x_{i+r/2} cos a + x_i sin a
//
// Backward. The turn is orthogonal, so the gradient of x is that of y turned back: the same with -a in place of a.
//
// The angles come from a table, row t of which is cos a of all pairs and then sin a of all. rotary_table writes it once
// a model, with f_i and a rounded to f32 as the transformers library has them. On one core with AVX2 and 24 heads of q
// and k a row takes 0.15 us with r = 16; two library calls a pair in place of the table would add 0.07 us. With r = 64
// it is 0.20 us (bf16: 0.48) and 0.28. Attention's kernels would gain too little to take this over.
//
// FLOPs: 3 r for a head of a row. It reads and writes r elements of it, so memory bounds it.
// Written in place: x. Saved: nothing.
// Numerics: computed in f32, rounded once to x's dtype. A position outside the table is an error that names it, found
// before anything is written; on a device its row stays as it is and the error comes when results are next read.
#pragma once

#include "kernels/arguments.h"

namespace engine {

struct RotaryArgs {
  Columns x;              // [N, heads D], turned in place
  Tensor positions;       // i32 [N]
  Tensor table;           // f32 [P, r], cos | sin
  int64_t heads = 1;
  bool backward = false;  // turns back

  template <class Each>
  void each_tensor(const Each& each) {
    const double width = static_cast<double>(x.width);
    const double turned = width > 0 ? static_cast<double>(heads * table.cols()) / width : 1;
    each("x", x.matrix, Role::both, x.share() * turned);
    each("positions", positions, Role::input);
    each("table", table, Role::input, named_share(positions, table));
  }
};

// Checks that the arguments fit one another, but not the positions' values.
void check_rotary(const RotaryArgs&);

// Writes the table [positions, dims] of dims/2 pairs.
void rotary_table(float* table, int64_t positions, int64_t dims, float base);

}  // namespace engine
