// One column of a matrix reads another: y_b += w y_a, for a weight w and the columns a = `from` and b = `to`. So a
// logit is a function of another logit of its row, as a linear layer on [features, y_a] gives it.
//
// Forward: y_nb += w y_na; no other column changes.
// Backward, from dy, the gradient of y as it is after forward: y_na is there still, and y_nb = y'_nb + w y_na, y' being
// y before, so that
//   dw = sum_n dy_nb y_na,   dy'_na = dy_na + w dy_nb,   dy'_nb = dy_nb
//
// Saved for backward: y, as forward leaves it. Written in place: y, dy. Added to: dweight.
// Numerics: the sum over rows is taken in double. A NaN of y_a or w makes y_b a NaN.
#pragma once

#include "kernels/checks.h"

namespace engine {

struct ChainColumnsForwardArgs {
  Tensor y;       // f32 [N, K], changed in place
  Tensor weight;  // f32 [1]
  int64_t from = 0, to = 1;

  template <class Each>
  void each_tensor(const Each& each) {
    each("y", y, Role::both);
    each("weight", weight, Role::input);
  }
};
struct ChainColumnsBackwardArgs {
  Tensor y;        // f32 [N, K]
  Tensor dy;       // f32 [N, K], changed in place
  Tensor weight;   // f32 [1]
  Tensor dweight;  // f32 [1], +=
  int64_t from = 0, to = 1;

  template <class Each>
  void each_tensor(const Each& each) {
    each("y", y, Role::input);
    each("dy", dy, Role::both);
    each("weight", weight, Role::input);
    each("dweight", dweight, Role::both);
  }
};

inline void check_chained_columns(const char* name, int64_t columns, int64_t from, int64_t to) {
  require(0 <= from && from < columns && 0 <= to && to < columns && from != to, name, ": columns ", from, " and ", to,
          " of ", columns);
}
inline void check_chain_columns(const ChainColumnsForwardArgs& args) {
  const char* name = "chain_columns_forward";
  check_matrix(name, "y", args.y, DType::f32, args.y.rows(), args.y.cols());
  check_vector(name, "weight", args.weight, DType::f32, 1);
  check_chained_columns(name, args.y.cols(), args.from, args.to);
}
inline void check_chain_columns(const ChainColumnsBackwardArgs& args) {
  const char* name = "chain_columns_backward";
  check_matrix(name, "y", args.y, DType::f32, args.y.rows(), args.y.cols());
  check_matrix(name, "dy", args.dy, DType::f32, args.y.rows(), args.y.cols());
  check_vector(name, "weight", args.weight, DType::f32, 1);
  check_vector(name, "dweight", args.dweight, DType::f32, 1);
  check_chained_columns(name, args.y.cols(), args.from, args.to);
}

}  // namespace engine
