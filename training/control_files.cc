#include "training/control_files.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace engine {

namespace {

// Not the training's: while it reads its data, a file may already ask it to stop.
const auto process_start = std::filesystem::file_time_type::clock::now();

}  // namespace

ControlFiles::ControlFiles(const std::filesystem::path& run)
    : stop_(run / control_file_names[0]), stop_now_(run / control_file_names[1]), save_(run / control_file_names[2]) {}

std::vector<std::string> ControlFiles::remove_old() const {
  std::vector<std::string> removed;
  for (const std::string& file : {stop_, stop_now_, save_}) {
    std::error_code absent;
    const auto written = std::filesystem::last_write_time(file, absent);
    if (!absent && written < process_start && take(file)) removed.push_back(file);
  }
  return removed;
}

bool ControlFiles::take(const std::string& file) {
  if (::unlink(file.c_str()) == 0) return true;
  // One that cannot be removed would be obeyed again after every step.
  if (errno != ENOENT) fail("cannot remove the control file ", file, ": ", std::generic_category().message(errno));
  return false;
}

}  // namespace engine
