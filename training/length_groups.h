// EpochPlan: which examples each optimizer step takes, where an epoch takes every example once: a function of the seed,
// the epoch and the examples' lengths. Shuffled: the examples are put in a random order, this is cut into groups of 50
// batches, each group is sorted by length (equal ones stay in their random order), the whole is cut into batches, and
// these are put in a random order. So a batch's sequences are about equally long, and it is random still which of them
// come together. Not shuffled, examples come in their own order, and nothing is sorted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"

namespace engine {

struct BatchRule {
  int64_t batch_size = 32;   // examples of a batch; an epoch's last cut may have fewer
  int64_t batch_tokens = 0;  // not 0: as many examples as together have at most that many tokens, and one at least
  bool group_by_length = true, shuffle = true;
};

class EpochPlan {
 public:
  // lengths[i]: the tokens of example i. An error where there is none.
  EpochPlan(std::vector<int32_t> lengths, uint64_t seed, const BatchRule& rule);

  // Steps of the first epoch. By batch_size all have as many; by batch_tokens they differ by a few.
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  // Steps of so many epochs; of the part of one, rounded up.
  int64_t steps(double epochs) const;
  // The examples of optimizer step `step` (from 0, over all epochs); good until the next call. Allocates nothing.
  std::span<const int32_t> batch(int64_t step);
  int64_t epoch() const { return epoch_; }  // of the last batch

 private:
  void plan(int64_t epoch);
  void go_to_epoch_of(int64_t step);
  // The end of the longest run from `begin` that has at most `examples` examples or, where tokens is not 0, at most
  // `tokens` tokens; one example at least.
  size_t run_end(size_t begin, int64_t examples, int64_t tokens) const;
  int64_t batches() const { return static_cast<int64_t>(batches_.size()); }

  struct Batch {
    int32_t begin, end;  // in order_
  };
  std::vector<int32_t> lengths_, order_, rank_;
  std::vector<Batch> batches_;
  uint64_t seed_;
  BatchRule rule_;
  int64_t epoch_ = 0, first_step_ = 0, steps_per_epoch_ = 0;  // which epoch is planned, and its first step
};

}  // namespace engine
