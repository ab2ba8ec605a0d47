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
  struct sigaction action {};
  action.sa_handler = note_stop;
  // The handler serves once; writes that it interrupts go on.
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &old_interrupt_);
  sigaction(SIGTERM, &action, &old_terminate_);
  action.sa_handler = note_save;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, &old_user_);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
  sigaction(SIGUSR1, &old_user_, nullptr);
}

bool StopSignal::received() const { return stop_noted != 0; }

bool StopSignal::take_save() {
  if (save_noted == 0) return false;
  save_noted = 0;
  return true;
}

}  // namespace engine
