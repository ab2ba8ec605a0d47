// A profile tells how the time of a task's training steps is spent: by operation, by layer and by phase, against what
// the device reaches at the most, and what its memory is used for.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "training/memory_plan.h"
#include "training/peaks.h"
#include "training/step_recorder.h"

namespace engine {

// An operation on one parameter, or on none, in all layers together. Numbers are those of a step on average.
struct OperationProfile {
  std::string operation, part;  // part: StepRecorder::part_of
  std::string shapes;           // "x [96..128, 64] f32, ...", with ranges where calls differ
  Phase phase = Phase::rest;
  DType compute = DType::f32;
  double calls = 0, seconds = 0, flops = 0, bytes = 0;

  bool is_like(const OperationProfile& other) const {
    return operation == other.operation && part == other.part && phase == other.phase && compute == other.compute;
  }
};

struct LayerProfile {
  std::string name;
  double calls = 0, flops = 0;
  std::array<double, phase_count> seconds{};  // of its operations, in each phase

  double total() const;
};

struct PhaseProfile {
  double seconds = 0, operations = 0;  // all of it, and operations alone
};

struct Profile {
  std::string task, device;
  DType compute = DType::f32;
  int threads = 1, ranks = 1;
  int64_t steps = 0;      // recorded
  double tokens = 0;      // of a step, all ranks'
  double seconds = 0;     // of a recorded step
  double unrecorded = 0;  // seconds of a step that is not recorded
  std::vector<OperationProfile> operations;  // the longest first
  std::vector<LayerProfile> layers;          // in the order of the forward pass
  std::array<PhaseProfile, phase_count> phases{};
  std::vector<MemoryUse> memory;
  size_t peak_memory = 0;  // of the process on the host, else the sum of `memory`
  Peaks peaks;

  double flops() const;
  double operation_seconds() const;
};

// Trains a task as the trainer does, but for evaluations, logs and saved files: a few steps to warm up, then `steps`
// that are recorded, before each of them one that is not. `recorded` gets them. The machine's and the task's backend is
// the one that make_record_ops made for `recorder`. Throws an Error where a loss is not finite.
Profile profile_task(const Config& config, Task& task, Machine& machine, StepRecorder& recorder, int64_t steps,
                     std::vector<ProfiledStep>& recorded);

}  // namespace engine
