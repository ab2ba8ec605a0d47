// The configuration of a verb: what its task.cfg says and its flags, which win.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/tasks.h"

namespace engine {

class Settings {
 public:
  Settings();
  Settings(const Settings&) = delete;  // the options point into it
  Settings& operator=(const Settings&) = delete;

  // Notes what a flag says of an option. It counts from resolve() on.
  void add_flag(const std::string& option, const std::string& text, const std::string& flag) {
    flags_.push_back({option, text, flag});
  }
  // After the command line is parsed: the file (none where it is empty) and then the flags.
  void resolve(const std::filesystem::path& file);
  // Whether a flag sets the option.
  bool has_flag(const std::string& option) const;
  // A UsageError for a flag that nothing reads. What a run's task.cfg says is passed over.
  void refuse_unread_flags() const;

  Config config;
  TaskSections sections;
  Options options;

 private:
  struct Given {
    std::string option, text, flag;
  };
  std::vector<Given> flags_;
};

}  // namespace engine
