// Shards divide a table of parameters into parts of about equally many elements. Every parameter is cut into as many
// pieces as there are parts, at multiples of a TouchedBlocks::block, and a piece may be empty. So nothing need be
// divisible by anything. Ranks that share the optimizer's work (ZeRO-1) have consecutive parts each: a rank updates its
// shard of every parameter, and keeps moments and averages of that shard alone. Otherwise a rank has all parts. How the
// table is cut follows from the shapes and the number of parts alone.
#pragma once

#include <cstdint>
#include <vector>

#include "core/communicator.h"
#include "models/parameters.h"
#include "training/config.h"

namespace engine {

class Shards {
 public:
  // The shard is the whole table, in one part.
  explicit Shards(const Parameters& parameters) : Shards(parameters, 1, nullptr) {}
  // As the configuration says. ranks (optional) outlives the shards.
  Shards(const Parameters& parameters, const TrainingConfig& config, Communicator* ranks);

  bool is_divided() const { return ranks_ != nullptr; }  // among several ranks
  int64_t parts() const { return parts_; }
  // Returns this rank's parts, the first and the one behind the last.
  int64_t first_part() const { return first_part_; }
  int64_t last_part() const { return last_part_; }

  // Returns what this rank has of a tensor that is shaped as the parameter: all of it, or a flat view of its shard.
  Tensor own(const Parameter& parameter, const Tensor& whole) const;
  Tensor part(const Parameter& parameter, const Tensor& whole, int64_t part) const;
  // Does the same with its touched blocks.
  Tensor own_blocks(const Parameter& parameter, const Tensor& blocks) const;
  // Returns the elements of the parameter before this rank's shard, and the place behind it.
  int64_t begin(const Parameter& parameter) const { return cuts_of(parameter)[static_cast<size_t>(first_part_)]; }
  int64_t end(const Parameter& parameter) const { return cuts_of(parameter)[static_cast<size_t>(last_part_)]; }
  int64_t count(const Parameter& parameter) const { return end(parameter) - begin(parameter); }  // of the shard
  // Returns the beginnings of the ranks' shards, and the end, in units of so many to an element.
  std::vector<int64_t> begins_of_ranks(const Parameter& parameter, int64_t units) const;

  // Starts to give every rank the values, and their rounded copies, that each has of its shards. The ranks wait for
  // it. Does nothing where a rank has all.
  void start_gather(const Parameter& parameter) const;
  // Gathers the values of all parameters.
  void gather_values(const Parameters& parameters) const;

 private:
  Shards(const Parameters& parameters, int64_t parts, Communicator* ranks);
  const std::vector<int64_t>& cuts_of(const Parameter& parameter) const { return cuts_.at(parameter.index); }

  int64_t parts_, first_part_ = 0, last_part_;
  Communicator* ranks_;                     // null where a rank has all parts
  std::vector<std::vector<int64_t>> cuts_;  // [parameters][parts + 1]
};

// Throws a UsageError where the ranks, or the sequences of a step, cannot be divided as training.reduction_shards says.
void check_reduction_shards(const TrainingConfig& config, const Communicator& ranks);

// Returns the order in which gradients and losses are summed over the ranks.
inline SumOrder sum_order(const TrainingConfig& config) {
  return config.reduction_shards > 0 ? SumOrder::tree : SumOrder::fastest;
}

}  // namespace engine
