// The program that was built with these tests.
#pragma once

#include <filesystem>
#include <string>

namespace engine::test {

// Its path: tests are $(BUILD)/tests/run or the like, it is $(BUILD)/engine.
inline std::string program_path() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "engine").string();
}

}  // namespace engine::test
