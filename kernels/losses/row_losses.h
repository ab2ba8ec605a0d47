// Operations with a loss a row share these arguments: totals[0] += the sum of the losses, in double and in the order of
// the rows (on a device in a fixed order), and totals[1] += the number of rows.
#pragma once

#include "kernels/checks.h"

namespace engine {

inline void check_row_losses(const char* name, int64_t rows, const Tensor& totals, const Tensor& row_losses) {
  check_vector(name, "totals", totals, DType::f32, 2);
  if (row_losses) check_vector(name, "row_losses", row_losses, DType::f32, rows);
}

}  // namespace engine
