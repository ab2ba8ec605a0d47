#include "training/shard_sums.h"

#include <bit>

#include "core/arena_room.h"

namespace engine {

namespace {

constexpr int64_t numbers_of_loss = 3;

}  // namespace

size_t ShardSums::bytes() const {
  size_t bytes = arena_room(numbers_of_loss * sizeof(float));
  for (const Parameter& p : optimizer_.parameters().all())
    if (!optimizer_.is_frozen(p)) bytes += arena_room(static_cast<size_t>(p.shape.count()) * sizeof(float));
  return bytes * static_cast<size_t>(std::bit_width(static_cast<uint64_t>(shards_)) - 1);
}

ShardSums::ShardSums(Ops& ops, const Optimizer& optimizer, int64_t shards)
    : ops_(ops), optimizer_(optimizer), shards_(shards), arena_(ops.memory(), bytes()) {
  for (int64_t size = 1; size < shards; size *= 2) {
    std::vector<Tensor>& level = levels_.emplace_back();
    for (const Parameter& p : optimizer.parameters().all())
      level.push_back(optimizer.is_frozen(p) ? Tensor{} : arena_.make(DType::f32, p.shape));
    level.push_back(arena_.make(DType::f32, {numbers_of_loss}));
  }
}

// The shards up to this one end a node of the tree on every level at which its number has a 1.
void ShardSums::add_to(const Tensor& sum, size_t place, int64_t shard) {
  for (size_t level = 0; shard & (int64_t{1} << level); ++level)
    ops_.dropout({.x = levels_[level][place], .residual = sum, .y = sum, .dropout = {}});  // the sum alone
}

void ShardSums::put_away(int64_t shard, const Tensor& totals) {
  const auto level = static_cast<size_t>(std::countr_one(static_cast<uint64_t>(shard)));
  Gradients& gradients = optimizer_.parameters().gradients();
  for (const Parameter& p : optimizer_.parameters().all()) {
    if (optimizer_.is_frozen(p)) continue;
    const Tensor& gradient = gradients.read(p);
    add_to(gradient, p.index, shard);
    ops_.copy({.x = gradient, .y = levels_[level][p.index]});
    gradients.set_stale(p);
  }
  const size_t last = levels_[level].size() - 1;
  add_to(totals, last, shard);
  ops_.copy({.x = totals, .y = levels_[level][last]});
  ops_.memory().zero(totals.data, totals.bytes());
}

void ShardSums::complete(const Parameter& parameter) {
  if (levels_.empty() || optimizer_.is_frozen(parameter)) return;
  add_to(optimizer_.parameters().gradients().read(parameter), parameter.index, shards_ - 1);
}

void ShardSums::complete_totals(const Tensor& totals) {
  if (!levels_.empty()) add_to(totals, levels_[0].size() - 1, shards_ - 1);
}

}  // namespace engine
