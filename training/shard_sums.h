// ShardSums adds up the gradients of a rank's virtual shards (training.reduction_shards) by a fixed tree. The ranks'
// sums go on by the same tree (SumOrder::tree), so that the number of ranks changes no bit. With S shards a rank, sums
// of 1, 2, 4 ... S/2 shards wait for the shards behind them: log2(S) copies of the gradients.
#pragma once

#include <vector>

#include "core/arena.h"
#include "training/optimizer.h"

namespace engine {

class ShardSums {
 public:
  // shards is the rank's number of shards, a power of two. The optimizer says which parameters are frozen, whose
  // gradients nobody needs.
  ShardSums(Ops& ops, const Optimizer& optimizer, int64_t shards);

  int64_t shards() const { return shards_; }
  size_t bytes() const;  // that it holds
  // Puts away the gradients of shard `shard`, any but the last, and its sums of the loss. They count as 0 after it.
  void put_away(int64_t shard, const Tensor& totals);
  // Adds to a gradient of the last shard, or to its sums of the loss, what was put away.
  void complete(const Parameter& parameter);
  void complete_totals(const Tensor& totals);

 private:
  void add_to(const Tensor& sum, size_t place, int64_t shard);

  Ops& ops_;
  const Optimizer& optimizer_;
  const int64_t shards_;
  Arena arena_;
  std::vector<std::vector<Tensor>> levels_;  // [log2 shards][parameters, and the sums of the loss]
};

}  // namespace engine
