// Sequences with thoughts. With K thoughts the last K tokens of a sequence are dropped, and K times a thought is put at
// a place that is drawn evenly from K ... the length so far, both ends included. A token predicts the one behind it; a
// target that is a thought counts as none. So every token but the first is predicted once, and the targets are the
// same with thoughts and without. A sequence needs 2 K + 1 tokens for that, and a shorter one has no thoughts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"
#include "training/batch.h"

namespace engine {

struct ThoughtPlan {
  int64_t count = 0;     // K
  int32_t thought = -1;  // its token
  bool inserts = true;   // false: the same tokens, without thoughts

  bool fits(size_t tokens) const { return static_cast<int64_t>(tokens) > 2 * count; }
};

// Drops the tokens in whose place the thoughts of a sequence are. Returns whether it is long enough for them.
bool drop_for_thoughts(const ThoughtPlan& plan, std::vector<int32_t>& tokens);
// Changes a sequence into the one with thoughts. Returns whether it is long enough.
bool insert_thoughts(const ThoughtPlan& plan, Random& random, std::vector<int32_t>& tokens);

// Appends inputs and targets of a sequence, which has at least 2 tokens.
void append_sequence(std::span<const int32_t> tokens, int32_t thought, SequenceBatch& batch);

}  // namespace engine
