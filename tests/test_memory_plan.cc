#include <doctest/doctest.h>

#include "kernels/observe/wrapped_ops.h"
#include "tests/program.h"
#include "tests/task_settings.h"
#include "training/memory_plan.h"

namespace engine::test::test_memory_plan {

namespace {

// The host's memory with another capacity.
class SmallMemory final : public Memory {
 public:
  explicit SmallMemory(size_t capacity) : capacity_(capacity) {}
  void* reserve(size_t bytes) override { return host_memory().reserve(bytes); }
  void release(void* data, size_t bytes) override { host_memory().release(data, bytes); }
  void copy_in(void* device, const void* host, size_t bytes) override { host_memory().copy_in(device, host, bytes); }
  void copy_out(void* host, const void* device, size_t bytes) override { host_memory().copy_out(host, device, bytes); }
  void zero(void* device, size_t bytes) override { host_memory().zero(device, bytes); }
  size_t capacity() const override { return capacity_; }

 private:
  size_t capacity_;
};

class OpsOfMemory final : public WrappedOps<OpsOfMemory> {
 public:
  OpsOfMemory(Ops& ops, Memory& memory) : ops_(ops), memory_(memory) {}
  Memory& memory() override { return memory_; }
  size_t packed_bytes(int64_t k, int64_t n, DType compute) override { return ops_.packed_bytes(k, n, compute); }
  template <class Args>
  void run(const char*, const Args& args, void (Ops::*method)(const Args&)) {
    (ops_.*method)(args);
  }

 private:
  Ops& ops_;
  Memory& memory_;
};

// A training whose steps are run one by one.
struct Steps : TaskSettings {
  std::unique_ptr<Task> of;
  std::unique_ptr<TrainingStep> step;
  std::unique_ptr<Averaging> averaging;
  SequenceBatch batch;

  // The options of a training, to which a model with dropout is added.
  explicit Steps(const std::string& training)
      : TaskSettings(std::string(small_scratchpad)
                         .replace(small_scratchpad.find("[model]"), 7, "[model]\ndropout = 0.1")
                         .append("[training]\nbatch_size = 8\n" + training)),
        of(task()),
        step(std::make_unique<TrainingStep>(machine, of->parameters(), config.training, config.seed)),
        averaging(std::make_unique<Averaging>(*ops, of->parameters(), config.training)) {
    averaging->begin();
    of->batch_of(0, batch);
  }

  std::vector<float> values_after_a_step() {
    step->run(of->loss(), batch, 0, 1, 0.01f);
    std::vector<float> values;
    for (const Parameter& parameter : of->parameters().all())
      values.insert(values.end(), parameter.value.as<float>(), parameter.value.as<float>() + parameter.value.count());
    return values;
  }
};

}  // namespace

TEST_CASE("memory plan: a step takes the activations that were planned, and its bits stay as they were") {
  for (const char* const training : {"", "micro_batch_size = 3\n", "recompute = true\n"}) {
    CAPTURE(training);
    Steps planned(training), unplanned(training);
    planned.step->reserve(planned.of->loss(), planned.batch);
    const size_t peak = planned.arena.peak();
    const std::vector<float> values = planned.values_after_a_step();
    CHECK(values == unplanned.values_after_a_step());
    CHECK(peak == planned.arena.peak());
    CHECK(peak == unplanned.arena.peak());
  }
}

TEST_CASE("memory plan: what is too large for the machine is refused before the first step") {
  Steps steps("swa_start = 1\n");
  const auto plan_with = [&](size_t capacity) {
    SmallMemory memory(capacity);
    OpsOfMemory ops(*steps.ops, memory);
    Machine machine{ops, steps.arena, DType::f32, steps.machine.communicator};
    return plan_memory(machine, steps.of->parameters(), *steps.step, *steps.averaging, steps.of->loss(), steps.batch);
  };
  const std::string text = plan_with(size_t{1} << 40);
  CAPTURE(text);
  for (const char* const part :
       {"memory: weights ", "gradients ", "moments ", "averages ", "activations ", " of 1048576 MiB"})
    CHECK(text.find(part) != std::string::npos);
  size_t needed = 0;
  for (const MemoryUse& use : memory_uses(steps.machine, steps.of->parameters(), *steps.step, *steps.averaging))
    needed += use.bytes;
  CHECK_NOTHROW(plan_with(needed));
  CHECK_THROWS_WITH_AS(plan_with(needed - 1), doctest::Contains("lower training.micro_batch_size"), Error);
}

}  // namespace engine::test::test_memory_plan
