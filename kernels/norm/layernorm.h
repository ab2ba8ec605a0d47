// Layernorm over the columns of each row, with the residual stream's addition and dropout in the same pass.
//
// Forward, of a row of C columns, drop(x)_i = x_i keep_i / (1 - rate):
//   s = residual + drop(x)     (either may be absent)
//   mean = sum_i s_i / C,  rstd = 1 / sqrt(sum_i (s_i - mean)^2 / C + epsilon)
//   y_i = n_i gain_i + bias_i,  n_i = (s_i - mean) rstd
// Saved for backward: s (as `sum`, f32), mean, rstd.
//
// Backward. With g_i = dy_i gain_i, and since mean and rstd depend on every s_j:
//   dn_i/ds_j = rstd (delta_ij - 1/C - n_i n_j / C)      (from d rstd/ds_j = -rstd^2 n_j / C)
//   ds_j = sum_i g_i dn_i/ds_j = rstd (g_j - mean_i(g_i) - n_j mean_i(g_i n_i))
//   dgain_i += sum_rows dy_i n_i,   dbias_i += sum_rows dy_i
// s = residual + drop(x), so the gradient that reaches residual is ds, plus what comes along the residual stream from
// further up (dsum's old value, where `accumulate` is set), and dx = keep / (1 - rate) of that total.
//
// Written: y, sum, mean, rstd, dx; dsum = or += by `accumulate`. Added to: dgain, dbias.
//
// Numerics: mean first and squared distances from it second, while the row is in cache: E[s^2] - mean^2 would cancel
// where the mean is large. A constant row has rstd = 1/sqrt(epsilon) and gives y = bias. A NaN or infinity makes its
// own row NaN, and dgain and dbias. Determinism: dgain and dbias are summed over chunks of rows that depend on the
// shape alone, and the chunks' sums are added in their order.
#pragma once

#include "kernels/arguments.h"

namespace engine {

// sum = residual + drop(x);  y = (sum - mean) rstd gain + bias, mean and rstd over each row.
struct LayerNormForwardArgs {
  Tensor x;           // optional [N, C]
  Tensor residual;    // optional f32 [N, C]; one of x and residual is there
  Tensor sum;         // optional f32 [N, C], =; may be residual itself
  Tensor gain;        // f32 [C]
  Tensor bias;        // optional f32 [C]
  Tensor y;           // [N, C], =
  Tensor mean, rstd;  // optional f32 [N], =; backward needs them
  float epsilon = 1e-5f;
  Dropout dropout;

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("residual", residual, Role::input);
    each("gain", gain, Role::input);
    each("bias", bias, Role::input);
    each("sum", sum, Role::output);
    each("y", y, Role::output);
    each("mean", mean, Role::output);
    each("rstd", rstd, Role::output);
    each("dropout.counters", dropout.counters, Role::input);
  }
};
// dsum = (accumulate: dsum +) dLN(dy);  dx = drop'(dsum).
struct LayerNormBackwardArgs {
  Tensor dy;               // [N, C]
  Tensor sum, mean, rstd;  // from forward; sum is f32
  Tensor gain;
  Tensor dsum;             // f32 [N, C], the residual stream's gradient
  bool accumulate = false;
  Tensor dx;               // optional [N, C], =, x's gradient; not needed without dropout where f32 serves
  Tensor dgain, dbias;     // f32 [C], +=; dbias optional
  Dropout dropout;

  template <class Each>
  void each_tensor(const Each& each) {
    each("dy", dy, Role::input);
    each("sum", sum, Role::input);
    each("mean", mean, Role::input);
    each("rstd", rstd, Role::input);
    each("gain", gain, Role::input);
    each("dsum", dsum, accumulate ? Role::both : Role::output);
    each("dx", dx, Role::output);
    each("dgain", dgain, Role::both);
    each("dbias", dbias, Role::both);
    each("dropout.counters", dropout.counters, Role::input);
  }
};

struct MatrixSize {
  int64_t rows, cols;
};

// Checks that the arguments fit one another. Returns the size of the rows.
MatrixSize check_layernorm(const LayerNormForwardArgs&);
MatrixSize check_layernorm(const LayerNormBackwardArgs&);

}  // namespace engine
