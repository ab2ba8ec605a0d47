// Reads what the control groups of this process allow it, in versions 1 and 2. Containers, services and batch systems
// set limits there. A group is limited by those above it, too.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace engine {

class ControlGroups {
 public:
  // Reads root/proc/self for the groups of this process. Another root than / lets a test describe a machine.
  explicit ControlGroups(std::filesystem::path root = "/");
  // Returns how many processors' time the tightest quota grants, 1.5 for instance. Infinite where there is none.
  double processors() const;
  // Returns the bytes of the tightest limit, the largest number where there is none. memory.high does not count,
  // because a process above it gets slower, but goes on.
  size_t memory() const;

 private:
  using Folders = std::vector<std::filesystem::path>;  // a group and those above it
  Folders folders_of(const std::string& controller) const;  // "" for version 2, which has one tree

  std::filesystem::path root_;
};

}  // namespace engine
