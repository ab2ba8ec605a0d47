// While a StopSignal lives, it remembers signals that would end the process, so that a training saves before it ends.
//
// | signal | sent | effect |
// |---|---|---|
// | SIGINT, SIGTERM | by a user or a batch system | received(); a second one ends the process |
// | SIGHUP | when the terminal is lost, often twice | received() |
// | SIGPIPE | when the reader of the output is gone | received() |
// | SIGUSR1 | by a user | take_save(), every time |
//
// SIGHUP and SIGPIPE stay ignored where they were (nohup).
#pragma once

#include <csignal>
#include <utility>
#include <vector>

namespace engine {

class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool received() const;
  bool take_save();  // true once for all signals since the last call

 private:
  void handle(int signal, void (*handler)(int), int flags);

  std::vector<std::pair<int, struct sigaction>> old_;  // actions by signal
};

}  // namespace engine
