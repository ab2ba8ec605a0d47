#include "training/averaging.h"

#include <algorithm>

#include "core/arena_room.h"

namespace engine {

namespace {

// Returns the bytes for all averages and slow weights, and a copy of the largest shard of a parameter.
size_t bytes_of(const Parameters& parameters, const TrainingConfig& config, const Shards& shards) {
  size_t bytes = 0, largest = 0;
  for (const Parameter& p : parameters.all()) {
    const size_t room = arena_room(static_cast<size_t>(shards.count(p)) * sizeof(float));
    bytes += room;
    largest = std::max(largest, room);
  }
  return bytes * static_cast<size_t>((config.swa_start > 0) + (config.lookahead_every > 0)) + largest;
}

}  // namespace

Averaging::Averaging(Ops& ops, Parameters& parameters, const TrainingConfig& config, const Shards& shards)
    : ops_(ops),
      parameters_(parameters),
      config_(config),
      shards_(shards),
      arena_(ops.memory(), bytes_of(parameters, config, shards)) {
  for (const Parameter& p : parameters.all()) {
    const Shape shape = value_of(p).shape;
    if (config.swa_start > 0) averages_.push_back(arena_.make_zeros(DType::f32, shape));
    if (config.lookahead_every > 0) slow_.push_back(arena_.make_zeros(DType::f32, shape));
  }
}

void Averaging::begin() {
  if (slow_.empty()) return;
  for (const Parameter& p : parameters_.all()) ops_.copy({.x = value_of(p), .y = slow_[p.index]});
}

bool Averaging::is_averaged(int64_t step) const {
  return config_.swa_start > 0 && step >= config_.swa_start && (step - config_.swa_start) % config_.swa_every == 0;
}

bool Averaging::is_looked_ahead(int64_t step) const {
  return config_.lookahead_every > 0 && step % config_.lookahead_every == 0;
}

void Averaging::update(int64_t step) {
  const bool swa_first = config_.averaging_order == "swa_first";
  if (swa_first && is_averaged(step)) average();
  if (is_looked_ahead(step)) look_ahead();
  if (!swa_first && is_averaged(step)) average();
}

void Averaging::average() {
  ++count_;
  for (const Parameter& p : parameters_.all())
    ops_.lerp({.x = value_of(p), .y = averages_[p.index], .t = 1 / static_cast<float>(count_)});
}

void Averaging::look_ahead() {
  for (Parameter& p : parameters_.all()) {
    const Tensor& slow = slow_[p.index];
    ops_.lerp({.x = value_of(p), .y = slow, .t = config_.lookahead_alpha});
    parameters_.write(ops_, p, slow, shards_.begin(p));
  }
  shards_.gather_values(parameters_);
}

void Averaging::swap() {
  const bool takes_slow = config_.evaluate_on == "slow_weights", takes_averages = config_.evaluate_on == "averages";
  if (!takes_slow && !(takes_averages && count_ > 0)) return;
  const std::vector<Tensor>& others = takes_slow ? slow_ : averages_;
  for (Parameter& p : parameters_.all()) {
    const ArenaScope scope(arena_);
    const Tensor present = arena_.make(DType::f32, others[p.index].shape);
    ops_.copy({.x = value_of(p), .y = present});
    parameters_.write(ops_, p, others[p.index], shards_.begin(p));
    ops_.copy({.x = present, .y = others[p.index]});
  }
  shards_.gather_values(parameters_);
}

std::vector<StateTensor> Averaging::state() const {
  std::vector<StateTensor> state;
  for (const Parameter& p : parameters_.all()) {
    const bool is_shard = shards_.is_divided();
    if (!averages_.empty()) state.push_back({"average", &p, averages_[p.index], is_shard, shards_.begin(p)});
    if (!slow_.empty()) state.push_back({"slow", &p, slow_[p.index], is_shard, shards_.begin(p)});
  }
  return state;
}

}  // namespace engine
