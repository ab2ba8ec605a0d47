#include "training/append.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"
#include "core/uninterrupted.h"

namespace engine {

namespace {

[[noreturn]] void fail_to_append(const std::filesystem::path& file) {
  fail("cannot write ", file.string(), ": ", std::generic_category().message(errno));
}

}  // namespace

int open_to_append(const std::filesystem::path& file) {
  const int descriptor =
      uninterrupted([&] { return ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666); });
  if (descriptor < 0) fail_to_append(file);
  return descriptor;
}

void close_appended(int file, const std::filesystem::path& path) {
  if (::close(file) != 0 && errno != EINTR) fail_to_append(path);
}

void append_to(int file, const std::filesystem::path& path, std::string_view piece) {
  if (!write_all(file, piece)) fail_to_append(path);
}

}  // namespace engine
