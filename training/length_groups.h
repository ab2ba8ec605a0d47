// An EpochPlan says which examples each optimizer step takes. An epoch takes every example once, or as often as the
// example's share says: 2.5 is twice, and once more in every second epoch on average. All epochs have as many examples:
// which of those with a part of a share come is drawn anew by systematic sampling over a random order. The plan is a
// function of the seed, the epoch, the examples' lengths and their shares. With shuffling it puts the examples in a
// random order, divides this into groups of 50 batches, sorts each group by length (equal lengths stay in their random
// order), divides the whole into batches, and puts these in a random order. So a batch's sequences are about equally
// long, but still a random choice. Without shuffling examples come in their own order, and nothing is sorted.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/random.h"

namespace engine {

struct BatchRule {
  int64_t batch_size = 32;   // examples of a batch; an epoch's last may have fewer
  int64_t batch_tokens = 0;  // most tokens of a batch, which has one example at least; 0: unused
  bool group_by_length = true, shuffle = true;
};

class EpochPlan {
 public:
  // lengths[i] is the number of tokens of example i, shares[i] how often an epoch takes it; no shares: once each.
  // Throws an Error where there is no example.
  EpochPlan(std::vector<int32_t> lengths, uint64_t seed, const BatchRule& rule, std::vector<float> shares = {});

  // Returns the steps of the first epoch. By batch_size all epochs have as many. By batch_tokens they differ by a few.
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  // Returns the steps of so many epochs. Those of a part of an epoch are rounded up.
  int64_t steps(double epochs) const;
  // Returns the examples of optimizer step `step` (from 0, over all epochs), valid until the next call. Allocates
  // nothing.
  std::span<const int32_t> batch(int64_t step);
  // Returns the first step of the epoch that holds this step, and how many it has.
  std::pair<int64_t, int64_t> epoch_of(int64_t step);
  int64_t epoch() const { return epoch_; }  // epoch of the last batch or of epoch_of

 private:
  void plan(int64_t epoch);
  void draw(Random& random);  // puts the examples of an epoch into order_
  void go_to_epoch_of(int64_t step);
  // Returns the end of the longest run from `begin` that has at most `examples` examples or, where tokens is not 0, at
  // most `tokens` tokens. A run has one example at least.
  size_t run_end(size_t begin, int64_t examples, int64_t tokens) const;
  int64_t batches() const { return static_cast<int64_t>(batches_.size()); }

  struct Batch {
    int32_t begin, end;  // range in order_
  };
  std::vector<int32_t> lengths_, order_, rank_;
  std::vector<float> shares_;    // empty: all 1
  std::vector<int32_t> partial_;  // those whose shares are not whole, in the order in which they are drawn
  double partial_sum_ = 0;       // of what their shares have above a whole number
  std::vector<Batch> batches_;
  uint64_t seed_;
  BatchRule rule_;
  int64_t epoch_ = 0, first_step_ = 0, steps_per_epoch_ = 0;  // the planned epoch, and its first step
};

}  // namespace engine
