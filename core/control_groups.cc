#include "core/control_groups.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <utility>

namespace engine {

namespace {

namespace fs = std::filesystem;

struct Mount {
  std::string root;  // group that lies there
  std::string point;
};

// Returns whether a list such as cpu,cpuacct names a word.
bool names(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  for (std::string one; std::getline(words, one, ',');)
    if (one == word) return true;
  return false;
}

// mountinfo writes a space as \040, and other special characters likewise.
std::string unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      result += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

// Finds the mount of a controller of version 1, or of version 2 where the name is empty. proc(5) describes the lines.
std::optional<Mount> mount_of(const fs::path& file, const std::string& controller) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash)), behind(line.substr(dash + 3));
    std::string id, parent, device, type, source, options;
    Mount mount;
    before >> id >> parent >> device >> mount.root >> mount.point;
    behind >> type >> source >> options;
    if (controller.empty() ? type != "cgroup2" : type != "cgroup" || !names(options, controller)) continue;
    return Mount{unescaped(mount.root), unescaped(mount.point)};
  }
  return std::nullopt;
}

// Finds the group of this process in the tree of a controller.
std::optional<std::string> group_of(const fs::path& file, const std::string& controller) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : names(controllers, controller)) return line.substr(second + 1);
  }
  return std::nullopt;
}

// Returns the number that a file begins with. None where it says max, or is not there.
std::optional<double> number_in(const fs::path& file) {
  double number = 0;
  if (std::ifstream(file) >> number) return number;
  return std::nullopt;
}

// Returns the processors that a folder grants, by cpu.max of version 2, "QUOTA PERIOD", or two files of version 1.
double quota_in(const fs::path& folder) {
  constexpr double none = std::numeric_limits<double>::infinity();
  double quota = 0, period = 100000;
  if (std::ifstream file(folder / "cpu.max"); file >> quota) {
    file >> period;
  } else {
    quota = number_in(folder / "cpu.cfs_quota_us").value_or(-1);
    period = number_in(folder / "cpu.cfs_period_us").value_or(period);
  }
  return quota > 0 && period > 0 ? quota / period : none;
}

}  // namespace

ControlGroups::ControlGroups(fs::path root) : root_(std::move(root)) {}

ControlGroups::Folders ControlGroups::folders_of(const std::string& controller) const {
  const fs::path process = root_ / "proc" / "self";
  const std::optional<Mount> mount = mount_of(process / "mountinfo", controller);
  const std::optional<std::string> group = group_of(process / "cgroup", controller);
  if (!mount || !group) return {};
  const fs::path point = root_ / fs::path(mount->point).relative_path();
  // A container may see another part of the tree than the one that names its group. Then the mount point is its group.
  fs::path below = fs::path(*group).lexically_relative(mount->root);
  if (below.empty() || *below.begin() == ".." || below == ".") below = fs::path();
  Folders folders;
  for (; !below.empty(); below = below.parent_path()) folders.push_back(point / below);
  folders.push_back(point);
  return folders;
}

double ControlGroups::processors() const {
  double processors = std::numeric_limits<double>::infinity();
  for (const char* controller : {"", "cpu"})
    for (const fs::path& folder : folders_of(controller)) processors = std::min(processors, quota_in(folder));
  return processors;
}

size_t ControlGroups::memory() const {
  constexpr size_t none = std::numeric_limits<size_t>::max();
  size_t bytes = none;
  const auto take = [&](const fs::path& file) {
    size_t limit = 0;
    if (std::ifstream(file) >> limit && limit > 0) bytes = std::min(bytes, limit);
  };
  for (const fs::path& folder : folders_of("")) take(folder / "memory.max");
  for (const fs::path& folder : folders_of("memory")) take(folder / "memory.limit_in_bytes");
  return bytes;
}

}  // namespace engine
