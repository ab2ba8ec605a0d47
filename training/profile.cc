#include "training/profile.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "core/parallel.h"
#include "core/process_memory.h"
#include "kernels/backend/backend.h"
#include "training/averaging.h"
#include "training/schedule.h"
#include "training/training_step.h"

namespace engine {

namespace {

constexpr int64_t warmup_steps = 3;

// Calls that are alike but for sizes.
struct CallGroup {
  RecordedCall first;
  Phase phase;
  std::string part;
  std::array<Shape, 3> least, most;
  double calls = 0, seconds = 0, flops = 0, bytes = 0;

  bool holds(const ProfiledCall& other, const std::string& other_part) const {
    const RecordedCall& call = other.call;
    if (std::string_view(first.name) != call.name || phase != other.phase || first.compute != call.compute ||
        part != other_part || first.arguments_count != call.arguments_count)
      return false;
    for (size_t i = 0; i < call.arguments_count; ++i) {
      const auto &a = first.arguments[i], &b = call.arguments[i];
      if (std::string_view(a.name) != b.name || a.dtype != b.dtype || a.shape.rank != b.shape.rank) return false;
    }
    return true;
  }
  void add(const ProfiledCall& other) {
    for (size_t i = 0; i < first.arguments_count; ++i)
      for (size_t d = 0; d < least[i].sizes.size(); ++d) {
        least[i].sizes[d] = std::min(least[i].sizes[d], other.call.arguments[i].shape.sizes[d]);
        most[i].sizes[d] = std::max(most[i].sizes[d], other.call.arguments[i].shape.sizes[d]);
      }
    calls += 1;
    seconds += other.seconds;
    flops += other.call.flops;
    bytes += other.call.bytes;
  }
  std::string shapes() const {
    std::string text;
    for (size_t i = 0; i < first.arguments_count; ++i) {
      text.append(i ? ", " : "").append(first.arguments[i].name).append(" [");
      for (int d = 0; d < least[i].rank; ++d) {
        text.append(d ? ", " : "").append(std::to_string(least[i][d]));
        if (most[i][d] != least[i][d]) text.append("..").append(std::to_string(most[i][d]));
      }
      text.append("] ").append(name_of(first.arguments[i].dtype));
    }
    return text;
  }
};

std::vector<OperationProfile> operations_of(const std::vector<ProfiledStep>& steps, const StepRecorder& recorder) {
  std::vector<CallGroup> groups;
  for (const ProfiledStep& step : steps)
    for (const ProfiledCall& call : step.calls) {
      const std::string part = recorder.part_of(call.call);
      auto group = std::find_if(groups.begin(), groups.end(), [&](const CallGroup& g) { return g.holds(call, part); });
      if (group == groups.end()) {
        CallGroup fresh{.first = call.call, .phase = call.phase, .part = part};
        for (size_t i = 0; i < call.call.arguments_count; ++i)
          fresh.least[i] = fresh.most[i] = call.call.arguments[i].shape;
        groups.push_back(fresh);
        group = groups.end() - 1;
      }
      group->add(call);
    }
  const auto count = static_cast<double>(steps.size());
  std::vector<OperationProfile> result;
  for (const CallGroup& g : groups)
    result.push_back({.operation = g.first.name,
                      .part = g.part,
                      .shapes = g.shapes(),
                      .phase = g.phase,
                      .compute = g.first.compute,
                      .calls = g.calls / count,
                      .seconds = g.seconds / count,
                      .flops = g.flops / count,
                      .bytes = g.bytes / count});
  std::stable_sort(result.begin(), result.end(), [](const OperationProfile& a, const OperationProfile& b) {
    return a.seconds > b.seconds;
  });
  return result;
}

std::vector<LayerProfile> layers_of(const std::vector<ProfiledStep>& steps, const std::vector<std::string>& names) {
  std::vector<LayerProfile> result;
  for (const std::string& name : names) result.push_back({.name = name});
  const auto count = static_cast<double>(steps.size());
  for (const ProfiledStep& step : steps)
    for (const ProfiledCall& call : step.calls) {
      LayerProfile& layer = result[call.layer];
      layer.calls += 1;
      layer.flops += call.call.flops;
      layer.seconds[static_cast<size_t>(call.phase)] += call.seconds;
    }
  for (LayerProfile& layer : result) {
    layer.calls /= count;
    layer.flops /= count;
    for (double& seconds : layer.seconds) seconds /= count;
  }
  return result;
}

std::array<PhaseProfile, phase_count> phases_of(const std::vector<ProfiledStep>& steps) {
  std::array<PhaseProfile, phase_count> result;
  const auto count = static_cast<double>(steps.size());
  for (const ProfiledStep& step : steps) {
    for (const PhaseSpan& span : step.phases) result[static_cast<size_t>(span.phase)].seconds += span.seconds / count;
    for (const ProfiledCall& call : step.calls)
      result[static_cast<size_t>(call.phase)].operations += call.seconds / count;
  }
  return result;
}

// The steps of a training, by the trainer's parts.
class ProfiledTraining {
 public:
  ProfiledTraining(const Config& config, Task& task, Machine& machine, StepRecorder& recorder)
      : task_(task),
        machine_(machine),
        recorder_(recorder),
        schedule_(config.training, training_steps(config.training, task.steps(config.training.epochs))),
        step_(machine, task.parameters(), config.training, config.seed),
        averaging_(machine.ops, task.parameters(), config.training, step_.optimizer().shards()) {
    averaging_.begin();
    recorder.learn(task.parameters());
  }

  void step() {
    recorder_.enter(Phase::data);
    task_.prepare(machine_, done_);
    task_.batch_of(done_, batch_);
    recorder_.enter(Phase::rest);
    RecordedLoss loss(task_.loss(), recorder_);
    const float rate = schedule_.learning_rate_at(std::min(done_, schedule_.steps() - 1));
    step_.start(loss, batch_, done_, done_ + 1, rate);
    recorder_.enter(Phase::rest);
    const StepResult result = step_.finish();
    if (result.weight != 0) {
      require(result.is_finite(), "step ", done_ + 1, ": the loss is ", result.loss(), ", the gradient's norm ",
              result.gradient_norm, ", and nothing can be profiled");
      task_.step_done(done_, result.loss());
    }
    recorder_.enter(Phase::update);
    averaging_.update(++done_);
    tokens_ = result.tokens;
  }
  int64_t tokens() const { return tokens_; }  // of the last step

  std::vector<MemoryUse> memory() {
    return memory_uses(machine_, task_.parameters(), step_, averaging_);
  }

 private:
  Task& task_;
  Machine& machine_;
  StepRecorder& recorder_;
  Schedule schedule_;
  TrainingStep step_;
  Averaging averaging_;
  SequenceBatch batch_;
  int64_t done_ = 0, tokens_ = 0;
};

void add_memory(std::vector<MemoryUse> memory, bool is_on_host, Profile& profile) {
  size_t sum = 0;
  for (const MemoryUse& use : memory) sum += use.bytes;
  profile.peak_memory = sum;
  if (const size_t peak = is_on_host ? peak_memory() : 0; peak > sum) {
    memory.push_back({"data, scratch, program", peak - sum});
    profile.peak_memory = peak;
  }
  profile.memory = std::move(memory);
}

}  // namespace

double LayerProfile::total() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

double Profile::flops() const {
  double sum = 0;
  for (const OperationProfile& operation : operations) sum += operation.flops;
  return sum;
}

double Profile::operation_seconds() const {
  double sum = 0;
  for (const OperationProfile& operation : operations) sum += operation.seconds;
  return sum;
}

Profile profile_task(const Config& config, Task& task, Machine& machine, StepRecorder& recorder, int64_t steps,
                     std::vector<ProfiledStep>& recorded) {
  const bool is_on_host = &machine.ops.memory() == &host_memory();
  Profile profile{.task = config.task,
                  .device = is_on_host ? "cpu" : config.device == "auto" ? auto_device() : config.device,
                  .compute = machine.compute,
                  .threads = thread_count(),
                  .ranks = machine.communicator.size(),
                  .steps = steps};
  ProfiledTraining training(config, task, machine, recorder);
  for (int64_t i = 0; i < warmup_steps; ++i) training.step();
  const auto count = static_cast<double>(steps);
  for (int64_t i = 0; i < steps; ++i) {
    const double begin = machine.seconds();
    training.step();
    profile.unrecorded += (machine.seconds() - begin) / count;
    static_cast<void>(machine.communicator.take_exchanges());  // those before the step
    recorder.begin_step();
    training.step();
    recorded.push_back(recorder.end_step(&machine.communicator));
    profile.seconds += recorded.back().seconds / count;
    profile.tokens += static_cast<double>(training.tokens()) / count;
  }
  profile.operations = operations_of(recorded, recorder);
  profile.layers = layers_of(recorded, recorder.layers());
  profile.phases = phases_of(recorded);
  add_memory(training.memory(), is_on_host, profile);
  // The peaks come last, so that their matrices are no part of the memory's peak.
  profile.peaks = measure_peaks(machine.ops, recorder.stopwatch());
  return profile;
}

}  // namespace engine
