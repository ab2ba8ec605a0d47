// A StepRecorder notes what a training step does and when: its phases, and its operations with their layers. It reads
// the order of operations and the memory that they use, so that models know nothing of it.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/stopwatch.h"
#include "kernels/observe/record_ops.h"
#include "training/task.h"

namespace engine {

// The phases of a step.
enum class Phase : uint8_t {
  data,           // the batch is made, and sent to the device
  forward,        // up to the loss
  loss,           // the operation that takes the loss and its gradient
  backward,       // behind the loss; what is recomputed counts here
  update,         // the optimizer, and averages of parameters
  communication,  // ranks exchange numbers, or wait for one another
  rest
};
inline constexpr size_t phase_count = 7;
const char* name_of(Phase phase);

struct ProfiledCall {
  RecordedCall call;
  Phase phase = Phase::rest;
  size_t layer = 0;               // StepRecorder::layers
  double begin = 0, seconds = 0;  // begin counts from the step's begin
};

struct PhaseSpan {
  Phase phase = Phase::rest;
  double begin = 0, seconds = 0;
};

struct ProfiledStep {
  std::vector<ProfiledCall> calls;
  std::vector<PhaseSpan> phases;  // one behind the other, the whole step
  double begin = 0, seconds = 0;  // begin counts from the first profiled step's
  std::vector<ExchangeSpan> exchanges;  // of ranks whose hosts carry gradients; they count from the step's begin
};

class StepRecorder final : public CallObserver {
 public:
  explicit StepRecorder(std::unique_ptr<Stopwatch> stopwatch) : stopwatch_(std::move(stopwatch)) {}

  // Learns where parameters, their gradients and their rounded copies lie. The optimizer has been made.
  void learn(Parameters& parameters);

  void begin_step();
  // Begins a phase. Returns the one before. It does nothing outside of a step that is recorded.
  Phase enter(Phase phase);
  // A pass begins with the data that is sent. Its phases follow from its operations.
  void begin_pass();
  void end_pass();
  // ranks (optional) tell of their exchanges.
  ProfiledStep end_step(Communicator* ranks = nullptr);

  bool is_on() const override { return is_on_; }
  size_t place_of(const Tensor& tensor) const override;
  void before(const RecordedCall& call) override;
  void after() override { stretch(false); }

  Stopwatch& stopwatch() { return *stopwatch_; }
  // Returns the names of layers, in the order of their first operations: "embedding", "layers.0", ...
  const std::vector<std::string>& layers() const { return layers_; }
  // Returns the parameter of a call's place, without its layer: "attention.qkv.weight", behind "d " for its gradient.
  // It is empty for a call without a parameter.
  std::string part_of(const RecordedCall& call) const;

 private:
  // The memory of a parameter's value, gradient or rounded copy.
  struct Place {
    const char* begin;
    const char* end;
    const Parameter* parameter;
    bool is_gradient;
  };
  // A stretch of time lies between two marks of the stopwatch.
  struct Stretch {
    Phase phase;
    bool is_call;
  };
  void stretch(bool is_call);  // begins here
  size_t layer_named(const std::string& name);
  void find_layer(const RecordedCall& call);

  std::unique_ptr<Stopwatch> stopwatch_;
  std::vector<Place> places_;  // in the order of their addresses
  std::vector<std::string> layers_;
  bool is_on_ = false, is_in_pass_ = false;
  Phase phase_ = Phase::rest;
  size_t layer_ = 0;
  std::vector<Stretch> stretches_;
  ProfiledStep step_;
  double first_begin_ = -1;
};

// Tells a recorder of a task's passes.
class RecordedLoss final : public BatchLoss {
 public:
  RecordedLoss(BatchLoss& inner, StepRecorder& recorder) : inner_(inner), recorder_(recorder) {}
  void run(Pass& pass, const SequenceBatch& batch, int64_t first, int64_t last, float gradient_scale,
           const Tensor& totals) override {
    recorder_.begin_pass();
    inner_.run(pass, batch, first, last, gradient_scale, totals);
    recorder_.end_pass();
  }

 private:
  BatchLoss& inner_;
  StepRecorder& recorder_;
};

// Tells a recorder when ranks communicate.
std::unique_ptr<Communicator> make_recorded_communicator(Communicator& inner, StepRecorder& recorder);

}  // namespace engine
