// Times a device's work between points in its order.
#pragma once

#include <memory>
#include <vector>

#include "core/memory.h"

namespace engine {

class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  // Marks the point behind all work that was started before.
  virtual void mark() = 0;
  // Waits until the last mark is reached. Returns the seconds between each mark and the next, and forgets the marks.
  virtual std::vector<double> seconds() = 0;
};

// Makes the stopwatch of work that is done when its call returns.
std::unique_ptr<Stopwatch> make_host_stopwatch();

namespace cuda {
// Makes the stopwatch of the device that has this memory. A mark takes about a microsecond of the device's time.
std::unique_ptr<Stopwatch> make_stopwatch(Memory& memory);
}  // namespace cuda

}  // namespace engine
