// The rest of the program sees the CUDA backend through this header, without CUDA's headers.
#pragma once

#include <memory>
#include <string>

#include "core/cuda/presence.h"
#include "kernels/backend/device_options.h"
#include "kernels/ops.h"

namespace engine::cuda {

// Makes the CUDA backend. An Error of one line says that no device can be used, a UsageError that the options name a
// library that is not installed.
std::unique_ptr<Ops> make_cuda_ops(const DeviceOptions& options = {});
// Returns a line for `info` that says which library multiplies matrices on the device.
std::string matrix_products_description();
// Returns a line for `info` about cuDNN's attention.
std::string cudnn_description();

}  // namespace engine::cuda
