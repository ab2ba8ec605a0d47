// The configuration of a verb: what its task.cfg says and its flags, which win.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tasks/tasks.h"

namespace engine {

class Settings {
 public:
  Settings();
  Settings(const Settings&) = delete;  // the options point into it
  Settings& operator=(const Settings&) = delete;

  // Notes what a flag says of an option. It counts from resolve() on.
  void add_flag(const std::string& name, const std::string& text) { flags_.emplace_back(name, text); }
  // After the command line is parsed: the file (none where it is empty) and then the flags.
  void resolve(const std::filesystem::path& file);

  Config config;
  TaskSections sections;
  Options options;

 private:
  std::vector<std::pair<std::string, std::string>> flags_;
};

}  // namespace engine
