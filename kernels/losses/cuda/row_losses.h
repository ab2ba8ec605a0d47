#pragma once

#include "core/arena.h"
#include "core/cuda/device.h"

namespace engine::cuda {

// Returns the place for the losses of rows: `row_losses` where it is given, else scratch of `workspace`.
inline float* room_for_losses(const Tensor& row_losses, int64_t rows, Arena& workspace) {
  return (row_losses ? row_losses : workspace.make(DType::f32, {rows})).as<float>();
}
// Adds losses in device memory and their number to the totals, and with `right`, 1 or 0 for each row, how many are
// right.
void add_row_losses(const Device& device, const float* losses, int64_t rows, float* totals,
                    const float* right = nullptr);
// Adds losses in device memory to the total, f32 [1].
void add_losses(const Device& device, const float* losses, int64_t rows, float* total);

}  // namespace engine::cuda
