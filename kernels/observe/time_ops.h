// A backend that times every operation of a piece of work on the device that does it.
#pragma once

#include <vector>

#include "core/stopwatch.h"
#include "kernels/observe/describe.h"
#include "kernels/ops.h"

namespace engine {

// An operation of the work, and the median seconds of one call over all that were timed.
struct OperationTime {
  OperationCount operation;
  double seconds = 0;
};

class TimeOps : public Ops {
 public:
  // The first run of the work only lists its operations, for which indices are copied to the host. Every later run is
  // timed, and has to call the same operations in the same order. The host does not wait between them, so that a device
  // that is slower than the host has the next one ready.
  virtual void begin_run() = 0;
  // Ends the last run. Operations stand in the order of their first calls. Throws an Error where no run was timed.
  virtual std::vector<OperationTime> times() = 0;
};

// Before its first run, the backend passes operations on to `inner` and times none. The stopwatch is that of the
// device that `inner` works on.
std::unique_ptr<TimeOps> make_time_ops(std::unique_ptr<Ops> inner, std::unique_ptr<Stopwatch> stopwatch);

}  // namespace engine
