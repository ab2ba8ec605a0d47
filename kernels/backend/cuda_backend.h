// The CUDA backend as the rest of the program sees it, without CUDA's headers.
#pragma once

#include <memory>
#include <string>

#include "core/cuda/presence.h"
#include "kernels/backend/device_options.h"
#include "kernels/ops.h"

namespace engine::cuda {

// An Error in one line where no device can be used, a UsageError where the options ask for a library that is not here.
std::unique_ptr<Ops> make_cuda_ops(const DeviceOptions& options = {});
// For `info`, a line: who multiplies matrices on the device.
std::string matrix_products_description();
// The same of cuDNN's attention.
std::string cudnn_description();

}  // namespace engine::cuda
