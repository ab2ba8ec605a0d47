// A Schedule lists what a rank with a GPU does in a step of a data-parallel training, in its order: the operations, and
// the exchanges with other ranks between them. bench/scaling.py simulates it.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "core/communicator.h"
#include "kernels/observe/describe.h"
#include "kernels/ops.h"
#include "models/parameters.h"
#include "training/memory_plan.h"

namespace engine {

class Schedule {
 public:
  // The schedule is that of the first of so many ranks. Nothing is computed or exchanged, and no memory is touched.
  explicit Schedule(int ranks);
  ~Schedule();

  Ops& ops();
  Communicator& ranks();
  // Forgets what was done before the step.
  void begin_step();
  // Prints a JSON line for each parameter ("parameter", "elements"), for each use of memory ("memory", "bytes"), and
  // for each piece of the step. A piece is some calls of an operation (as --operations prints it, and "zero", which
  // fills memory), or an exchange: "sum", "or", "reduce_scatter" or "all_gather" of a tensor ("bytes"), "gather" of
  // numbers of the host, or "wait", behind which all that were started are done.
  void print(const Parameters& parameters, const std::vector<MemoryUse>& uses, std::ostream& out);

 private:
  class Pieces;
  class Device;
  class CountedOps;
  class ListedRanks;
  std::unique_ptr<Pieces> pieces_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<CountedOps> ops_;
  std::unique_ptr<ListedRanks> ranks_;
};

// Returns what --operations prints of an operation.
nlohmann::json json_of(const OperationCount& count);

}  // namespace engine
