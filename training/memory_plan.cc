#include "training/memory_plan.h"

namespace engine {

namespace {

size_t bytes_of(const std::vector<StateTensor>& tensors) {
  size_t bytes = 0;
  for (const StateTensor& state : tensors) bytes += state.tensor.bytes();
  return bytes;
}

}  // namespace

std::vector<MemoryUse> memory_uses(Machine& machine, Parameters& parameters, TrainingStep& step,
                                   const Averaging& averaging) {
  size_t weights = 0, gradients = 0, copies = parameters.packed_bytes();
  for (const Parameter& parameter : parameters.all()) {
    weights += parameter.value.bytes();
    gradients += parameters.gradients().read(parameter).bytes();
    copies += parameter.rounded().bytes();
  }
  return {{"weights", weights},
          {"gradients", gradients},
          {"gradients of other shards", step.shard_sums().bytes()},
          {"gradients of lookups", step.lookup_sums().bytes()},
          {"moments", bytes_of(step.optimizer().state())},
          {"averages", bytes_of(averaging.state())},
          {"rounded and packed copies", copies},
          {"activations", machine.arena.peak()}};
}

std::string plan_memory(Machine& machine, Parameters& parameters, TrainingStep& step, const Averaging& averaging,
                        BatchLoss& loss, const SequenceBatch& batch) {
  step.reserve(loss, batch);
  std::string text = "memory: ";
  size_t sum = 0;
  for (const MemoryUse& use : memory_uses(machine, parameters, step, averaging)) {
    if (use.bytes == 0) continue;
    text.append(use.name).append(" ").append(memory_text(use.bytes)).append(", ");
    sum += use.bytes;
  }
  const size_t capacity = machine.ops.memory().capacity();
  if (sum > capacity) {
    const size_t activations = machine.arena.peak(), others = sum - activations;
    fail_out_of_memory("a training step, for its activations,", activations,
                       capacity > others ? capacity - others : 0, capacity);
  }
  return text + "together " + memory_text(sum) + " of " + memory_text(capacity);
}

}  // namespace engine
