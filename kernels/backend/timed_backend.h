// Makes a backend for a device that times its operations, and a device's stopwatch.
#pragma once

#include "kernels/backend/device_options.h"
#include "kernels/observe/time_ops.h"

namespace engine {

// `device` is as in make_ops (backend.h). With check both devices' work and what compares it count.
std::unique_ptr<TimeOps> make_timed_ops(const std::string& device, const DeviceOptions& options = {});

// Makes the stopwatch of the device that `ops` works on.
std::unique_ptr<Stopwatch> stopwatch_of(Ops& ops);

}  // namespace engine
