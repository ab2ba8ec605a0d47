#include "training/append.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace engine {

int open_to_append(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot write ", file.string(), ": ", std::generic_category().message(errno));
  return descriptor;
}

void append_to(int file, const std::filesystem::path& path, std::string_view piece) {
  while (!piece.empty()) {
    const ssize_t count = ::write(file, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("cannot write ", path.string(), ": ", std::generic_category().message(errno));
    piece.remove_prefix(static_cast<size_t>(count));
  }
}

}  // namespace engine
