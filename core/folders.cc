#include "core/folders.h"

#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "core/error.h"

namespace engine {

namespace {

// std::filesystem::create_directories forgets why it could not look at a folder.
bool is_folder(const std::filesystem::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return false;
  if (S_ISDIR(status.st_mode)) return true;
  errno = ENOTDIR;
  return false;
}

}  // namespace

void make_folders(const std::filesystem::path& folder) {
  if (folder.empty() || is_folder(folder)) return;
  if (errno == ENOENT) {
    make_folders(folder.has_filename() ? folder.parent_path() : folder.parent_path().parent_path());
    // Another process may make the same folder.
    if (::mkdir(folder.c_str(), 0777) == 0 || (errno == EEXIST && is_folder(folder))) return;
  }
  fail("cannot make the folder ", folder.string(), ": ", std::generic_category().message(errno));
}

}  // namespace engine
