// The machine that a configuration runs on: its backend, memory for activations and precision.
#pragma once

#include <unistd.h>

#include <algorithm>

#include "core/error.h"
#include "core/parallel.h"
#include "core/ranks.h"
#include "kernels/backend/backend.h"
#include "training/config.h"
#include "training/task.h"

namespace engine {

class ConfiguredMachine {
 public:
  explicit ConfiguredMachine(const Config& config)
      : ops_(make_ops(config.device, config.device_options)),
        arena_(ops_->memory()),
        machine_{*ops_, arena_, compute_precision(config.precision, device_of(config, *ops_))} {
    set_threads(config.threads);
    // Unless mpirun has bound each rank to processors of its own, the ranks of a machine share all of them.
    const bool is_bound = thread_count() < sysconf(_SC_NPROCESSORS_ONLN);
    if (config.threads == 0 && !is_bound) set_threads(std::max(thread_count() / ranks_here(), 1));
    const std::string device = device_of(config, *ops_);
    if (rank_count() > 1 && device != "cpu")
      fail_usage("several ranks train on the CPU: set device = \"cpu\", it is ", device);
  }
  Machine& machine() { return machine_; }
  Ops& ops() { return *ops_; }

 private:
  // The device that auto stands for, which is the CPU also where a GPU has too little memory.
  static std::string device_of(const Config& config, Ops& ops) {
    if (config.device != "auto") return config.device;
    return &ops.memory() == &host_memory() ? "cpu" : auto_device();
  }

  std::unique_ptr<Ops> ops_;
  Arena arena_;
  Machine machine_;
};

}  // namespace engine
