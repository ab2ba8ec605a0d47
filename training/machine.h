// A ConfiguredMachine has the backend, the memory for activations and the precision that a configuration names.
#pragma once

#include "core/activity.h"
#include "core/error.h"
#include "core/parallel.h"
#include "kernels/backend/backend.h"
#include "training/config.h"
#include "training/task.h"

namespace engine {

// Returns the precision of passes on a configuration's backend.
inline DType precision_of(const Config& config, Ops& ops) {
  // The device that auto stands for is the CPU also where a GPU has too little memory.
  const bool is_auto = config.device == "auto", is_host = &ops.memory() == &host_memory();
  return compute_precision(config.precision, !is_auto ? config.device : is_host ? "cpu" : auto_device());
}

// Returns the dtype in which a model for this use keeps its matrices (Parameters::allocate).
inline DType matrices_for(Use use, const Config& config, Ops& ops) {
  return use == Use::prediction ? precision_of(config, ops) : DType::f32;
}

class ConfiguredMachine {
 public:
  ConfiguredMachine(const Config& config, Communicator& ranks)
      : ops_(make_ops(device_for(config, ranks), options_for(config, ranks))),
        arena_(ops_->memory()),
        between_devices_(make_device_communicator(*ops_, ranks, config.communication_timeout,
                                                  static_cast<size_t>(config.training.bucket_mib * (1 << 20)))),
        machine_{.ops = *ops_,
                 .arena = arena_,
                 .compute = precision_of(config, *ops_),
                 .communicator = between_devices_ ? *between_devices_ : ranks,
                 .reduction_shards = config.training.reduction_shards} {
    set_threads(config.threads ? config.threads : processors_of_each(ranks.local_size()));
    ranks.set_timeout(config.communication_timeout);
    set_activity_style(ranks.is_first() ? config.progress : "none");
    if (between_devices_ && config.training.reduction_shards > 0)
      fail_usage("training.reduction_shards is had on the CPU, or on one GPU: set device = \"cpu\", or ",
                 "training.reduction_shards = 0");
  }
  Machine& machine() { return machine_; }
  Ops& ops() { return *ops_; }

 private:
  static const std::string& device_for(const Config& config, const Communicator& ranks) {
    if (ranks.size() > 1 && config.device == "check")
      fail_usage("device = \"check\" compares two devices on one rank, and here are ", ranks.size());
    return config.device;
  }
  static DeviceOptions options_for(const Config& config, const Communicator& ranks) {
    DeviceOptions options = config.device_options;
    options.gpu = gpu_of_rank(ranks);
    return options;
  }

  std::unique_ptr<Ops> ops_;
  Arena arena_;
  std::unique_ptr<Communicator> between_devices_;  // null where ranks compute on the CPU, or there is one
  Machine machine_;
};

}  // namespace engine
