// Rows by index, between any columns of two matrices, cast where their dtypes differ.
//
//   gather:  y[i] = x[index[i]]      (rows may be taken more than once)
//   scatter: y[index[i]] = x[i]      (indices differ; other rows of y stay as they are)
// Each is the other's derivative: with dy for y, the gradient of a gather's x is scattered back into zeros where the
// indices differ, and the gradient of a scatter's x is gathered.
//
// Numerics: bits are kept where the dtypes are equal, else rounded to nearest even. An index outside its matrix is an
// error that names it, found before anything is written; on a device its row stays as it is and the error comes when
// results are next read.
#pragma once

#include "kernels/arguments.h"

namespace engine {

struct RowsArgs {
  Columns x;
  Tensor index;  // i32
  Columns y;

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x.matrix, Role::input, x.share() * named_share(index, x.matrix));
    each("index", index, Role::input);
    each("y", y.matrix, Role::both, y.share() * named_share(index, y.matrix));
  }
};

// Check that the arguments fit one another, but not the indices' values.
void check_gather(const RowsArgs&);
void check_scatter(const RowsArgs&);

}  // namespace engine
