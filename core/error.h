// Errors that reach the user. Each says what was wrong, where, and what would be right, in one line.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace engine {

// The work failed: a file cannot be read, a device has no memory, a number is not finite. The program exits with 1.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The user's command cannot be right: an option is unknown, or has a wrong type or a value out of range. The program
// exits with 2.
struct UsageError : Error {
  using Error::Error;
};

namespace detail {
template <class... Parts>
std::string joined(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}
}  // namespace detail

// fail("file ", path, ": line ", n) throws an Error whose message is its arguments, written one after another.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(detail::joined(parts...));
}

template <class... Parts>
[[noreturn]] void fail_usage(const Parts&... parts) {
  throw UsageError(detail::joined(parts...));
}

// Throws an Error where a caller broke its promise: require(x.cols() == C, "layernorm: x has ", x.cols(), " columns").
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] fail(parts...);
}

}  // namespace engine
