// Gradients holds the gradients of a table of parameters, says how operations write them, and knows when they are
// complete.
//
// After an update a gradient may be stale, which means that its numbers were used and count as 0. The first operation
// that gives a whole gradient then writes it instead of adding to zeros, so updates need not write zeros.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/arena.h"

namespace engine {

struct Parameter;

// These parameters lie together in their table, such as those of a block, from first to last-1.
struct ParameterRange {
  size_t first = 0, last = 0;
};

class Gradients {
 public:
  // Makes f32 zeros in the shape of every parameter.
  Gradients(Memory& memory, const std::deque<Parameter>& parameters);

  // A slot says how an operation gives a gradient. It adds to the tensor, or writes all of it.
  struct Slot {
    Tensor tensor;
    bool accumulate;
  };
  // Serves an operation that gives the whole of a gradient.
  Slot slot(const Parameter& parameter);
  // Serves an operation that adds to some or all of a gradient. A stale one is zeroed first.
  const Tensor& sum(const Parameter& parameter);
  // Serves a lookup in a table of tokens, which adds to rows that the batch names (set_apart).
  const Tensor& lookup(const Parameter& parameter);
  // Returns the gradient as a reader sees it, zeros where it is stale.
  const Tensor& read(const Parameter& parameter) { return sum(parameter); }
  // Returns the touched blocks of a looked-up table's gradient, u8 (TouchedBlocks); absent for other parameters.
  const Tensor& touched_blocks(const Parameter& parameter) const;
  // Makes the gradient count as 0 from now on.
  void set_stale(const Parameter& parameter);
  void zero();

  // These tell when gradients are complete. A step calls expect() before its last backward pass and finish() after it.
  // In between, done() marks parameters to which nothing more is added. `complete` is called once for every parameter,
  // from the end of the table to its beginning, as soon as it and all behind it are done. Tables whose lookups are
  // apart come before all others. The order is the same on every rank.
  void expect(std::function<void(const Parameter&)> complete);
  void done(ParameterRange range);
  void finish();
  // Says that the head, whose projection this is, adds nothing more to it.
  void scored(const Parameter& projection);
  // Gives a tied table a tensor of its shape for what lookups add between expect() and finish(), wherever keep_apart()
  // says so. Its gradient is complete then when the head has been scored.
  void set_apart(const Parameter& parameter, const Tensor& lookups) { state_of(parameter).apart = lookups; }
  void keep_apart(bool does) { keeps_apart_ = does; }
  const Tensor& apart(const Parameter& parameter) const;

 private:
  struct State {
    const Parameter* parameter;
    Tensor tensor, touched, apart;
    bool is_stale = false, is_done = false, is_told = false;
  };
  State& state_of(const Parameter& parameter);
  void tell(State& state);  // once
  bool is_apart(const State& state) const { return complete_ && keeps_apart_ && state.apart; }

  Arena arena_;
  std::vector<State> states_;
  std::function<void(const Parameter&)> complete_;
  size_t waiting_ = 0;  // parameters 0 ... waiting_-1 are not complete
  bool keeps_apart_ = false;
};

}  // namespace engine
