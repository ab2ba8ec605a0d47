// Calls of the system that a signal may interrupt, or that do a part of their work.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace engine {

// Calls a function of the system until no signal interrupts it, and returns what it returned.
template <class Call>
auto uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// Writes all of a piece into an open file. Returns false, with errno, where that cannot be.
inline bool write_all(int file, std::string_view piece) {
  while (!piece.empty()) {
    const ssize_t written = uninterrupted([&] { return ::write(file, piece.data(), piece.size()); });
    if (written == 0) errno = ENOSPC;
    if (written <= 0) return false;
    piece.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace engine
