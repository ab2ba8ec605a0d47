// Gradients: the gradients of a table of parameters, how operations write them, and when they are complete.
//
// After an update a gradient may be stale: what it holds was used and counts as 0. The first operation that gives a
// whole gradient then writes it instead of adding to zeros, so updates need not write zeros that products read again.
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

// Parameters that lie together in their table, such as those of a block: first ... last-1.
struct ParameterRange {
  size_t first = 0, last = 0;
};

class Gradients {
 public:
  // f32 zeros in the shape of every parameter.
  Gradients(Memory& memory, const std::deque<Parameter>& parameters);

  // Says how an operation gives a gradient: it adds to the tensor, or writes all of it.
  struct Slot {
    Tensor tensor;
    bool accumulate;
  };
  // For an operation that gives the whole of a gradient.
  Slot slot(const Parameter& parameter);
  // For an operation that adds to some or all of a gradient. A stale one is zeroed first.
  const Tensor& sum(const Parameter& parameter);
  // The gradient as a reader sees it: zeros where it is stale.
  const Tensor& read(const Parameter& parameter) { return sum(parameter); }
  // u8: which blocks of a looked-up table's gradient were touched (TouchedBlocks); absent for other parameters.
  const Tensor& touched_blocks(const Parameter& parameter) const;
  // From now on the gradient counts as 0.
  void set_stale(const Parameter& parameter);
  void zero();

  // Tells when gradients are complete. A step calls expect() before its last backward pass and finish() after it. In
  // between, done() marks parameters to which nothing more is added. `complete` is called once for every parameter, from
  // the end of the table to its beginning, as soon as it and all behind it are done: in the same order on every rank.
  void expect(std::function<void(const Parameter&)> complete);
  void done(ParameterRange range);
  void finish();

 private:
  struct State {
    const Parameter* parameter;
    Tensor tensor, touched;
    bool is_stale = false, is_done = false;
  };
  State& state_of(const Parameter& parameter);

  Arena arena_;
  std::vector<State> states_;
  std::function<void(const Parameter&)> complete_;
  size_t waiting_ = 0;  // parameters 0 ... waiting_-1 are not complete
};

}  // namespace engine
