#include "training/control_files.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace engine {

namespace {

// The process is older than its training, so a file may stop a training that still reads its data.
const auto process_start = std::filesystem::file_time_type::clock::now();

}  // namespace

std::vector<std::string> ControlFiles::remove_old() const {
  std::vector<std::string> removed;
  for (const std::filesystem::path& file : {stop_, stop_now_, save_}) {
    std::error_code absent;
    const auto written = std::filesystem::last_write_time(file, absent);
    if (!absent && written < process_start && take(file)) removed.push_back(file.string());
  }
  return removed;
}

bool ControlFiles::take(const std::filesystem::path& file) {
  if (::unlink(file.c_str()) == 0) return true;
  // A file that cannot be removed would be obeyed after every step.
  if (errno != ENOENT)
    fail("cannot remove the control file ", file.string(), ": ", std::generic_category().message(errno));
  return false;
}

}  // namespace engine
