// What the control groups of this process allow it, versions 1 and 2: containers, services and batch systems set limits
// there. A group is limited by those above it, too.
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
  // Processors' worth of time that the tightest quota grants, 1.5 for instance. Infinite where there is none.
  double processors() const;
  // Bytes of the tightest limit, the largest number where there is none. memory.high does not count: above it a process
  // gets slower, but goes on.
  size_t memory() const;

 private:
  using Folders = std::vector<std::filesystem::path>;  // of a group and those above it
  Folders folders_of(const std::string& controller) const;  // none: version 2, which has one tree for all

  std::filesystem::path root_;
};

}  // namespace engine
