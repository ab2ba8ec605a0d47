// StopSignal: while one lives, the first SIGINT or SIGTERM is noted instead of ending the process; a second ends it.
#pragma once

#include <csignal>

namespace engine {

class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool received() const;

 private:
  struct sigaction old_interrupt_ {}, old_terminate_ {};
};

}  // namespace engine
