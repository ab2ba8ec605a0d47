// The losses of rows on the CPU.
#pragma once

#include "core/arena.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace engine::ENGINE_ISA {

// Takes loss_of(row) of every row, `grain` rows in a piece of work, and writes the losses to row_losses where it is
// given. Adds their sum, taken in double and in the order of the rows, to *total.
template <class LossOf>
void add_losses(int64_t rows, int64_t grain, const Tensor& row_losses, float* total, Arena& workspace,
                const LossOf& loss_of) {
  if (!rows) return;
  const ArenaScope scope(workspace);
  float* const losses = (row_losses ? row_losses : workspace.make(DType::f32, {rows})).as<float>();
  parallel_chunks(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) losses[row] = loss_of(row);
  });
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row) sum += static_cast<double>(losses[row]);
  *total += static_cast<float>(sum);
}

// Does the same with totals[0], and adds the number of rows to totals[1].
template <class LossOf>
void add_losses_of_rows(int64_t rows, int64_t grain, const Tensor& row_losses, const Tensor& totals, Arena& workspace,
                        const LossOf& loss_of) {
  add_losses(rows, grain, row_losses, totals.as<float>(), workspace, loss_of);
  totals.as<float>()[1] += static_cast<float>(rows);
}

}  // namespace engine::ENGINE_ISA
