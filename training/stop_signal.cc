#include "training/stop_signal.h"

namespace engine {

namespace {

volatile std::sig_atomic_t stop_noted = 0, save_noted = 0;

void note_stop(int) { stop_noted = 1; }
void note_save(int) { save_noted = 1; }

}  // namespace

StopSignal::StopSignal() {
  stop_noted = 0;
  save_noted = 0;
  for (const int signal : {SIGINT, SIGTERM}) handle(signal, note_stop, static_cast<int>(SA_RESETHAND));
  for (const int signal : {SIGHUP, SIGPIPE}) {
    struct sigaction current {};
    sigaction(signal, nullptr, &current);
    if (current.sa_handler != SIG_IGN) handle(signal, note_stop, 0);
  }
  handle(SIGUSR1, note_save, 0);
}

StopSignal::~StopSignal() {
  for (const auto& [signal, action] : old_) sigaction(signal, &action, nullptr);
}

void StopSignal::handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action {}, old {};
  action.sa_handler = handler;
  action.sa_flags = flags | SA_RESTART;  // interrupted writes go on
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, &old);
  old_.emplace_back(signal, old);
}

bool StopSignal::received() const { return stop_noted != 0; }

bool StopSignal::take_save() {
  if (save_noted == 0) return false;
  save_noted = 0;
  return true;
}

}  // namespace engine
