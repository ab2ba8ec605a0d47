#include "kernels/norm/layernorm.h"

#include "kernels/checks.h"

namespace engine {

MatrixSize check_layernorm(const LayerNormForwardArgs& args) {
  const char* name = "layernorm_forward";
  require(args.x || args.residual, name, ": neither x nor residual is given");
  const int64_t cols = args.gain.count(), rows = (args.x ? args.x : args.residual).rows();
  check_vector(name, "gain", args.gain, DType::f32, cols);
  check_activation(name, "y", args.y, rows, cols);
  if (args.x) check_activation(name, "x", args.x, rows, cols);
  if (args.residual) check_matrix(name, "residual", args.residual, DType::f32, rows, cols);
  if (args.sum) check_matrix(name, "sum", args.sum, DType::f32, rows, cols);
  if (args.bias) check_vector(name, "bias", args.bias, DType::f32, cols);
  if (args.mean) check_vector(name, "mean", args.mean, DType::f32, rows);
  if (args.rstd) check_vector(name, "rstd", args.rstd, DType::f32, rows);
  return {rows, cols};
}

MatrixSize check_layernorm(const LayerNormBackwardArgs& args) {
  const char* name = "layernorm_backward";
  const int64_t cols = args.gain.count(), rows = args.sum.rows();
  check_vector(name, "gain", args.gain, DType::f32, cols);
  check_activation(name, "dy", args.dy, rows, cols);
  check_matrix(name, "sum", args.sum, DType::f32, rows, cols);
  check_vector(name, "mean", args.mean, DType::f32, rows);
  check_vector(name, "rstd", args.rstd, DType::f32, rows);
  check_matrix(name, "dsum", args.dsum, DType::f32, rows, cols);
  if (args.dx) check_activation(name, "dx", args.dx, rows, cols);
  check_vector(name, "dgain", args.dgain, DType::f32, cols);
  if (args.dbias) check_vector(name, "dbias", args.dbias, DType::f32, cols);
  return {rows, cols};
}

}  // namespace engine
