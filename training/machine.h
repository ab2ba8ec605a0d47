// A ConfiguredMachine has the backend, the memory for activations and the precision that a configuration names.
#pragma once

#include "core/activity.h"
#include "core/error.h"
#include "core/parallel.h"
#include "kernels/backend/backend.h"
#include "training/config.h"
#include "training/task.h"

namespace engine {

class ConfiguredMachine {
 public:
  ConfiguredMachine(const Config& config, Communicator& ranks)
      : ops_(make_ops(config.device, config.device_options)),
        arena_(ops_->memory()),
        machine_{.ops = *ops_,
                 .arena = arena_,
                 .compute = compute_precision(config.precision, device_of(config, *ops_)),
                 .communicator = ranks,
                 .reduction_shards = config.training.reduction_shards} {
    set_threads(config.threads ? config.threads : processors_of_each(ranks.local_size()));
    ranks.set_timeout(config.communication_timeout);
    set_activity_style(ranks.is_first() ? config.progress : "none");
    const std::string device = device_of(config, *ops_);
    if (ranks.size() > 1 && device != "cpu")
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
