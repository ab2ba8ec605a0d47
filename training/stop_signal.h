// StopSignal: while one lives, the first SIGINT or SIGTERM is noted instead of ending the process; a second ends it.
// SIGUSR1 is noted as a wish to save, every time.
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
  bool take_save();  // true once for what came since the last call

 private:
  struct sigaction old_interrupt_ {}, old_terminate_ {}, old_user_ {};
};

}  // namespace engine
