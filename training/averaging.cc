#include "training/averaging.h"

#include <algorithm>

#include "core/arena_room.h"

namespace engine {

namespace {

// Returns the bytes for all averages and a copy of the largest parameter.
size_t bytes_of(const Parameters& parameters) {
  size_t bytes = 0, largest = 0;
  for (const Parameter& p : parameters.all()) {
    const size_t room = arena_room(static_cast<size_t>(p.shape.count()) * sizeof(float));
    bytes += room;
    largest = std::max(largest, room);
  }
  return bytes + largest;
}

}  // namespace

Averaging::Averaging(Ops& ops, Parameters& parameters, int64_t start, int64_t every)
    : ops_(ops), parameters_(parameters), arena_(ops.memory(), bytes_of(parameters)), start_(start), every_(every) {
  for (const Parameter& p : parameters.all()) averages_.push_back(arena_.make_zeros(DType::f32, p.shape));
}

void Averaging::update(int64_t step) {
  if (step < start_ || (step - start_) % every_ != 0) return;
  ++count_;
  for (const Parameter& p : parameters_.all())
    ops_.lerp({.x = p.value, .y = averages_[p.index], .t = 1 / static_cast<float>(count_)});
}

void Averaging::swap() {
  if (!has_average()) return;
  for (Parameter& p : parameters_.all()) {
    const ArenaScope scope(arena_);
    const Tensor present = arena_.make(DType::f32, p.shape);
    ops_.copy({.x = p.value, .y = present});
    parameters_.write(ops_, p, averages_[p.index]);
    ops_.copy({.x = present, .y = averages_[p.index]});
  }
}

std::vector<StateTensor> Averaging::state() const {
  std::vector<StateTensor> state;
  for (const Parameter& p : parameters_.all()) state.push_back({"average", &p, averages_[p.index]});
  return state;
}

}  // namespace engine
