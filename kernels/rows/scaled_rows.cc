#include "kernels/rows/scaled_rows.h"

#include "kernels/checks.h"

namespace engine {
namespace {

struct NamedRows {
  const char* name;
  const Tensor& matrix;
  const char* index_name;
  const Tensor& index;

  int64_t count() const { return index ? index.count() : matrix.rows(); }
};

int64_t check_rows(const char* operation, const NamedRows& from, const NamedRows& to, const RowScale& scale) {
  const int64_t width = from.matrix.cols(), count = from.count(), weights = scale.weights.count();
  check_matrix(operation, from.name, from.matrix, DType::f32, from.matrix.rows(), width);
  check_matrix(operation, to.name, to.matrix, DType::f32, to.matrix.rows(), width);
  for (const NamedRows* rows : {&from, &to})
    if (rows->index) check_vector(operation, rows->index_name, rows->index, DType::i32, count);
  require(to.count() == count, operation, ": ", from.name, " gives ", count, " rows and ", to.name, " takes ",
          to.count());
  check_vector(operation, "weights", scale.weights, DType::f32, weights);
  require(0 <= scale.at && scale.at < weights, operation, ": weight ", scale.at, " of ", weights);
  return count;
}

}  // namespace

int64_t check_scaled_rows(const AddScaledRowsArgs& a) {
  return check_rows("add_scaled_rows", {"x", a.x, "x_index", a.x_index}, {"y", a.y, "y_index", a.y_index}, a.scale);
}

int64_t check_scaled_rows(const RowScaleBackwardArgs& a) {
  const char* name = "row_scale_backward";
  check_vector(name, "dweights", a.dweights, DType::f32, a.scale.weights.count());
  return check_rows(name, {"x", a.x, "x_index", a.x_index}, {"dy", a.dy, "dy_index", a.dy_index}, a.scale);
}

}  // namespace engine
