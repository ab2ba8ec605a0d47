#pragma once

#include "core/cuda/device.h"

namespace engine::cuda {

// add_row_losses (row_losses.h) of what is on the device.
void add_row_losses(const Device& device, const float* losses, int64_t rows, float* totals);

}  // namespace engine::cuda
