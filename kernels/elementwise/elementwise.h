// Operations that take each element by itself.
//
//   copy: y = x, cast to y's dtype (f32 and bf16 to each other; any dtype to itself)
//   lerp: y += t (x - y): t = 0 leaves y, t = 1 makes it x up to a rounding (Lookahead, averages of weights)
//   dropout: y = residual + x keep / (1 - rate), keep by Dropout::drops with the element first_row C + i. Its
//            derivative by x is keep / (1 - rate) and by the residual 1: backward is the same of dy without a residual.
// Numerics: casts round to nearest, ties to even, and keep NaNs. Copies of one dtype keep the bits. All are bound by
// memory.
#pragma once

#include "kernels/checks.h"

namespace engine {

struct CopyArgs {
  Tensor x, y;  // y = x, cast to y's dtype

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("y", y, Role::output);
  }
};
struct LerpArgs {
  Tensor x, y;  // f32, y += t (x - y)
  float t;

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("y", y, Role::both);
  }
};
struct DropoutArgs {
  Tensor x;         // [N, C]
  Tensor residual;  // optional f32 [N, C]
  Tensor y;         // [N, C]; may be x or the residual
  Dropout dropout;

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("residual", residual, Role::input);
    each("y", y, Role::output);
    each("dropout.counters", dropout.counters, Role::input);
  }
};

// Checks the arguments. Returns true where the dtypes are equal, so that bytes are copied.
inline bool check_copy(const CopyArgs& args) {
  const char* name = "copy";
  if (args.x.count() != args.y.count())
    fail(name, ": x is ", args.x.shape.text(), ", y ", args.y.shape.text());
  require(args.x.count() == 0 || (args.x && args.y), name, ": x or y is missing");
  if (args.x.dtype == args.y.dtype) return true;
  check_activation(name, "x", args.x, args.x.rows(), args.x.cols());
  check_activation(name, "y", args.y, args.y.rows(), args.y.cols());
  return false;
}

inline void check_dropout(const DropoutArgs& args) {
  const char* name = "dropout";
  const int64_t rows = args.x.rows(), cols = args.x.cols();
  check_activation(name, "x", args.x, rows, cols);
  check_activation(name, "y", args.y, rows, cols);
  if (args.residual) check_matrix(name, "residual", args.residual, DType::f32, rows, cols);
}

inline void check_lerp(const LerpArgs& args) {
  check_vector("lerp", "x", args.x, DType::f32, args.x.count());
  check_vector("lerp", "y", args.y, DType::f32, args.x.count());
}

}  // namespace engine
