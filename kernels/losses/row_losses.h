// What operations with a loss a row share: totals[0] += the sum of the losses, in double and in the order of the rows
// (on a device in a fixed order), totals[1] += the number of rows.
#pragma once

#include "kernels/checks.h"

namespace engine {

inline void check_row_losses(const char* name, int64_t rows, const Tensor& totals, const Tensor& row_losses) {
  check_vector(name, "totals", totals, DType::f32, 2);
  if (row_losses) check_vector(name, "row_losses", row_losses, DType::f32, rows);
}

inline void add_row_losses(const float* losses, int64_t rows, float* totals) {
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) sum += static_cast<double>(losses[r]);
  totals[0] += static_cast<float>(sum);
  totals[1] += static_cast<float>(rows);
}

}  // namespace engine
