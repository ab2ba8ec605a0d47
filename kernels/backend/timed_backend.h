// Makes a backend for a device that times its operations.
#pragma once

#include "kernels/backend/device_options.h"
#include "kernels/observe/time_ops.h"

namespace engine {

// `device` is as in make_ops (backend.h). With check both devices' work and what compares it count.
std::unique_ptr<TimeOps> make_timed_ops(const std::string& device, const DeviceOptions& options = {});

}  // namespace engine
