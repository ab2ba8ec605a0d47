// A quick place for the files of a test.
#pragma once

#include <unistd.h>

#include <filesystem>

namespace engine::test {

// Returns a place in memory where there is one, since every saving syncs dozens of files, which takes a disk long.
inline std::filesystem::path quick_place() {
  return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

}  // namespace engine::test
