// Calls of the system that a signal may interrupt.
#pragma once

#include <cerrno>

namespace engine {

// Calls a function of the system until no signal interrupts it, and returns what it returned.
template <class Call>
auto uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace engine
