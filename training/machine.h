// What a configuration runs on: the backend, memory for activations and the precision that it asks for.
#pragma once

#include "core/parallel.h"
#include "kernels/backend.h"
#include "training/config.h"
#include "training/task.h"

namespace engine {

class ConfiguredMachine {
 public:
  explicit ConfiguredMachine(const Config& config)
      : ops_(make_ops(config.device)),
        arena_(ops_->memory()),
        machine_{*ops_, arena_, compute_precision(config.precision, config.device)} {
    set_threads(config.threads);
  }
  Machine& machine() { return machine_; }
  Ops& ops() { return *ops_; }

 private:
  std::unique_ptr<Ops> ops_;
  Arena arena_;
  Machine machine_;
};

}  // namespace engine
