#include "training/control_files.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace engine {

ControlFiles::ControlFiles(const std::filesystem::path& run)
    : stop_(run / control_file_names[0]), stop_now_(run / control_file_names[1]), save_(run / control_file_names[2]) {}

bool ControlFiles::take(const std::string& file) {
  if (::unlink(file.c_str()) == 0) return true;
  // One that cannot be removed would be obeyed again after every step.
  if (errno != ENOENT) fail("cannot remove the control file ", file, ": ", std::generic_category().message(errno));
  return false;
}

}  // namespace engine
