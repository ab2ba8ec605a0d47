#include "training/step_recorder.h"

#include <algorithm>
#include <string_view>

namespace engine {

const char* name_of(Phase phase) {
  constexpr std::array<const char*, phase_count> names{"data",   "forward",       "loss", "backward",
                                                       "update", "communication", "rest"};
  return names[static_cast<size_t>(phase)];
}

namespace {

// Returns "encoder.layers.3" for a parameter of that layer, else the name of the part that it is in.
std::string layer_text(const Parameter& parameter) {
  const std::string& name = parameter.name;
  if (layer_of(name) < 0) return name.substr(0, name.rfind('.'));
  return name.substr(0, name.find('.', name.find("layers.") + 7));
}

class RecordedCommunicator final : public Communicator {
 public:
  using Communicator::gather;

  RecordedCommunicator(Communicator& inner, StepRecorder& recorder) : inner_(inner), recorder_(recorder) {
    rank_ = inner.rank();
    size_ = inner.size();
    local_rank_ = inner.local_rank();
    local_size_ = inner.local_size();
  }
  void sum(std::span<float> values) override {
    recorded([&] { inner_.sum(values); });
  }
  void sum(std::span<double> values) override {
    recorded([&] { inner_.sum(values); });
  }
  void start_sum(std::span<float> values, SumOrder order) override {
    recorded([&] { inner_.start_sum(values, order); });
  }
  void start_or(std::span<uint8_t> values) override {
    recorded([&] { inner_.start_or(values); });
  }
  void start_reduce_scatter(std::span<float> values, std::span<const int64_t> begins, SumOrder order) override {
    recorded([&] { inner_.start_reduce_scatter(values, begins, order); });
  }
  void start_all_gather(std::span<std::byte> values, std::span<const int64_t> begins) override {
    recorded([&] { inner_.start_all_gather(values, begins); });
  }
  void wait() override {
    recorded([&] { inner_.wait(); });
  }
  std::vector<float> gather(const std::vector<float>& own) override { return gathered(own); }
  std::vector<int32_t> gather(const std::vector<int32_t>& own) override { return gathered(own); }
  std::vector<char> gather(const std::vector<char>& own) override { return gathered(own); }
  void set_timeout(double seconds) override { inner_.set_timeout(seconds); }
  void let_first_speak() override { inner_.let_first_speak(); }
  void abort(int code) override { inner_.abort(code); }
  std::vector<ExchangeSpan> take_exchanges() override { return inner_.take_exchanges(); }

 private:
  // One rank has nobody to wait for, and its step no such phase.
  template <class Work>
  void recorded(const Work& work) {
    if (size_ == 1) return work();
    const Phase before = recorder_.enter(Phase::communication);
    work();
    recorder_.enter(before);
  }
  template <class Values>
  Values gathered(const Values& own) {
    Values result;
    recorded([&] { result = inner_.gather(own); });
    return result;
  }

  Communicator& inner_;
  StepRecorder& recorder_;
};

}  // namespace

void StepRecorder::learn(Parameters& parameters) {
  const auto add = [&](const Tensor& tensor, const Parameter& parameter, bool is_gradient) {
    const char* const begin = static_cast<const char*>(tensor.data);
    if (tensor) places_.push_back({begin, begin + tensor.bytes(), &parameter, is_gradient});
  };
  places_.clear();
  for (const Parameter& parameter : parameters.all()) {
    add(parameter.value, parameter, false);
    add(parameter.rounded(), parameter, false);
    add(parameters.gradients().read(parameter), parameter, true);
    add(parameters.gradients().apart(parameter), parameter, true);
  }
  std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) { return a.begin < b.begin; });
}

size_t StepRecorder::place_of(const Tensor& tensor) const {
  const char* const at = static_cast<const char*>(tensor.data);
  const auto behind =
      std::upper_bound(places_.begin(), places_.end(), at, [](const char* a, const Place& b) { return a < b.begin; });
  if (behind == places_.begin() || at >= (behind - 1)->end) return RecordedCall::nowhere;
  return static_cast<size_t>(behind - 1 - places_.begin());
}

std::string StepRecorder::part_of(const RecordedCall& call) const {
  if (call.place == RecordedCall::nowhere) return "";
  const Place& place = places_[call.place];
  const std::string& name = place.parameter->name;
  const std::string part = layer_of(name) < 0 ? name : name.substr(layer_text(*place.parameter).size() + 1);
  return (place.is_gradient ? "d " : "") + part;
}

size_t StepRecorder::layer_named(const std::string& name) {
  const auto found = std::find(layers_.begin(), layers_.end(), name);
  if (found == layers_.end()) {
    layers_.push_back(name);
    return layers_.size() - 1;
  }
  return static_cast<size_t>(found - layers_.begin());
}

// An operation without a parameter belongs to the layer of the one before it.
void StepRecorder::find_layer(const RecordedCall& call) {
  if (!is_in_pass_) {
    layer_ = layer_named(name_of(phase_));
    return;
  }
  const bool is_embedding = std::string_view(call.name).starts_with("embedding_");
  if (call.place == RecordedCall::nowhere) {
    if (is_embedding) layer_ = layer_named("another model");
    return;
  }
  const Parameter& parameter = *places_[call.place].parameter;
  const bool is_output_table = parameter.is_factor && !parameter.is_linear;
  layer_ = layer_named(is_embedding ? "embedding" : is_output_table ? "head" : layer_text(parameter));
}

void StepRecorder::stretch(bool is_call) {
  stopwatch_->mark();
  stretches_.push_back({phase_, is_call});
}

void StepRecorder::begin_step() {
  step_ = {};
  const double now = steady_seconds();
  if (first_begin_ < 0) first_begin_ = now;
  step_.begin = now - first_begin_;
  stretches_.clear();
  phase_ = Phase::rest;
  is_on_ = true;
  stretch(false);
}

Phase StepRecorder::enter(Phase phase) {
  const Phase before = phase_;
  if (!is_on_ || phase == before) return before;
  phase_ = phase;
  stretch(false);
  return before;
}

void StepRecorder::begin_pass() {
  if (!is_on_) return;
  enter(Phase::data);
  is_in_pass_ = true;
  layer_ = layer_named("embedding");
}

void StepRecorder::end_pass() {
  is_in_pass_ = false;
  enter(Phase::update);
}

void StepRecorder::before(const RecordedCall& call) {
  if (is_in_pass_) {
    if (phase_ == Phase::data) enter(Phase::forward);
    else if (phase_ == Phase::loss) enter(Phase::backward);
    if (phase_ == Phase::forward && call.has_gradient) enter(Phase::loss);
  }
  find_layer(call);
  step_.calls.push_back({.call = call, .phase = phase_, .layer = layer_});
  if (!is_in_pass_) step_.calls.back().call.place = RecordedCall::nowhere;  // an update is of all parameters
  stretch(true);
}

ProfiledStep StepRecorder::end_step(Communicator* ranks) {
  stopwatch_->mark();
  is_on_ = false;
  const std::vector<double> seconds = stopwatch_->seconds();
  size_t call = 0;
  for (size_t i = 0; i < stretches_.size(); ++i) {
    const auto& [phase, is_call] = stretches_[i];
    std::vector<PhaseSpan>& phases = step_.phases;
    if (phases.empty() || phases.back().phase != phase) phases.push_back({.phase = phase, .begin = step_.seconds});
    phases.back().seconds += seconds[i];
    if (is_call) {
      step_.calls[call].begin = step_.seconds;
      step_.calls[call++].seconds = seconds[i];
    }
    step_.seconds += seconds[i];
  }
  if (ranks) step_.exchanges = ranks->take_exchanges();
  const double begin = first_begin_ + step_.begin;
  for (ExchangeSpan& exchange : step_.exchanges)
    for (double* const time : {&exchange.started, &exchange.begin, &exchange.end}) *time -= begin;
  return std::move(step_);
}

std::unique_ptr<Communicator> make_recorded_communicator(Communicator& inner, StepRecorder& recorder) {
  return std::make_unique<RecordedCommunicator>(inner, recorder);
}

}  // namespace engine
