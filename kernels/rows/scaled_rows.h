// Rows of one matrix are added to rows of another, all times a number s that a gate makes of a vector of weights w [L]:
//   relu:     s = max(0, w_k)
//   softmax:  s = e^(w_k) / sum_l e^(w_l)
//   y[b_i] += s x[a_i]                    for i = 0 ... R-1, with a_i and b_i rows of x and of y
// So a mixture of L states is L such additions, one for each k, of the states that a model has at its boundaries.
//
// Backward, from dy, where no row of y comes twice:
//   dx[a_i] += s dy[b_i]                  the same operation the other way round
//   g = dL/ds = sum_i <dy[b_i], x[a_i]>   row_scale_backward, which goes on to the weights:
//   relu:     dw_k += g where w_k > 0
//   softmax:  dw_m += g s_k ([m = k] - s_m) for all m, as ds_k/dw_m = s_k ([m = k] - s_m)
//
// Saved for backward: x. Added to (+=): y; dweights.
// Numerics: the gate and g are taken in double. A NaN of w or x makes what it is added to a NaN, with relu, too.
// An index outside its matrix is an error that names it; on a device its row stays as it is and the error comes when
// results are next read.
#pragma once

#include "kernels/arguments.h"

namespace engine {

enum class Gate { relu, softmax };

struct RowScale {
  Tensor weights;  // f32 [L]
  int64_t at = 0;  // k
  Gate gate = Gate::relu;
};

struct AddScaledRowsArgs {
  Tensor x;        // f32 [M, C]
  Tensor x_index;  // optional i32 [R]; absent: row i
  Tensor y;        // f32 [N, C], +=
  Tensor y_index;  // optional i32 [R], no row twice; absent: row i
  RowScale scale;

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input, x_index ? named_share(x_index, x) : 1);
    each("x_index", x_index, Role::input);
    each("y", y, Role::both, y_index ? named_share(y_index, y) : 1);
    each("y_index", y_index, Role::input);
    each("weights", scale.weights, Role::input);
  }
};

struct RowScaleBackwardArgs {
  Tensor x, x_index;    // as above
  Tensor dy, dy_index;  // the same for the gradient of y
  RowScale scale;
  Tensor dweights;      // f32 [L], +=

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input, x_index ? named_share(x_index, x) : 1);
    each("x_index", x_index, Role::input);
    each("dy", dy, Role::input, dy_index ? named_share(dy_index, dy) : 1);
    each("dy_index", dy_index, Role::input);
    each("weights", scale.weights, Role::input);
    each("dweights", dweights, Role::both);
  }
};

// Check that the arguments fit one another, but not the indices' values, and return R.
int64_t check_scaled_rows(const AddScaledRowsArgs& args);
int64_t check_scaled_rows(const RowScaleBackwardArgs& args);

}  // namespace engine
