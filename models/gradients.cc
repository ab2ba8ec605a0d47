#include "models/gradients.h"

#include "core/arena_room.h"
#include "models/parameters.h"

namespace engine {

namespace {

size_t bytes_of(const std::deque<Parameter>& parameters) {
  size_t bytes = 0;
  for (const Parameter& p : parameters) {
    bytes += arena_room(static_cast<size_t>(p.shape.count()) * sizeof(float));
    if (p.is_lookup) bytes += arena_room(static_cast<size_t>(TouchedBlocks::count(p.shape.count())));
  }
  return bytes;
}

}  // namespace

Gradients::Gradients(Memory& memory, const std::deque<Parameter>& parameters) : arena_(memory, bytes_of(parameters)) {
  for (const Parameter& p : parameters) {
    State& state = states_.emplace_back(State{&p, arena_.make_zeros(DType::f32, p.shape), {}});
    if (p.is_lookup) state.touched = arena_.make_zeros(DType::u8, {TouchedBlocks::count(p.shape.count())});
  }
}

Gradients::State& Gradients::state_of(const Parameter& parameter) {
  State& state = states_.at(parameter.index);
  require(state.parameter == &parameter, "the parameter ", parameter.name, " is not of this table");
  return state;
}

Gradients::Slot Gradients::slot(const Parameter& parameter) {
  State& state = state_of(parameter);
  return {state.tensor, !std::exchange(state.is_stale, false)};
}

const Tensor& Gradients::sum(const Parameter& parameter) {
  State& state = state_of(parameter);
  if (std::exchange(state.is_stale, false)) arena_.memory().zero(state.tensor.data, state.tensor.bytes());
  return state.tensor;
}

const Tensor& Gradients::lookup(const Parameter& parameter) {
  const State& state = state_of(parameter);
  return is_apart(state) ? state.apart : sum(parameter);
}

const Tensor& Gradients::touched_blocks(const Parameter& parameter) const {
  return states_.at(parameter.index).touched;
}

const Tensor& Gradients::apart(const Parameter& parameter) const { return states_.at(parameter.index).apart; }

void Gradients::set_stale(const Parameter& parameter) { state_of(parameter).is_stale = true; }

void Gradients::zero() {
  for (State& state : states_) {
    arena_.memory().zero(state.tensor.data, state.tensor.bytes());
    if (state.touched) arena_.memory().zero(state.touched.data, state.touched.bytes());
    state.is_stale = false;
  }
}

void Gradients::expect(std::function<void(const Parameter&)> complete) {
  complete_ = std::move(complete);
  waiting_ = states_.size();
  for (State& state : states_) state.is_done = state.is_told = false;
}

void Gradients::tell(State& state) {
  if (!std::exchange(state.is_told, true)) complete_(*state.parameter);
}

void Gradients::done(ParameterRange range) {
  if (!complete_) return;
  for (size_t i = range.first; i < range.last; ++i) states_.at(i).is_done = true;
  while (waiting_ > 0 && states_[waiting_ - 1].is_done) tell(states_[--waiting_]);
}

void Gradients::scored(const Parameter& projection) {
  State& state = state_of(projection);
  if (!is_apart(state)) return;
  require(state.is_told || waiting_ == states_.size(), projection.name,
          " is scored after another gradient is complete");
  tell(state);
}

void Gradients::finish() {
  for (const State& state : states_)
    if (is_apart(state)) scored(*state.parameter);
  done({0, states_.size()});
  complete_ = nullptr;
}

}  // namespace engine
