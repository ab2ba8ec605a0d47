#include "core/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

#include "core/error.h"

namespace engine {

void fill_standard_streams() {
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    // The lowest free descriptor is this one, since those below are open.
    if (open("/dev/null", O_RDONLY) != descriptor) std::abort();
  }
}

void fail_to_print() {
  std::error_code unknown;
  const std::string file = std::filesystem::read_symlink("/proc/self/fd/1", unknown).string();
  fail("the standard output", unknown || file == "/dev/null" ? "" : " (" + file + ")",
       " cannot be written: is the disk full, or it closed?");
}

void require_printed() {
  const bool is_flushed = std::cout.flush() && std::fflush(stdout) == 0;
  const bool was_closed = (fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY;
  if (!is_flushed || (!was_closed && std::ferror(stdout))) fail_to_print();
}

}  // namespace engine
