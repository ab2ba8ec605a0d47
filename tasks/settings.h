// The configuration of a verb: what its task.cfg says and its flags, which win.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tasks/tasks.h"

namespace CLI {
class App;
}

namespace engine {

class Settings {
 public:
  Settings();
  Settings(const Settings&) = delete;  // the options point into it
  Settings& operator=(const Settings&) = delete;

  // Options as flags of the verb: --training.learning_rate 1e-4. Of `read` each is a name or a section ("generation.");
  // where it is empty, all options.
  void add_flags(CLI::App& verb, const std::vector<std::string>& read = {});
  // A flag that a verb gives under a short name of its own: generate's --temperature.
  void add_short_flag(CLI::App& verb, const std::string& flag, const std::string& name, const std::string& help);
  // After the command line is parsed: the file (none where it is empty) and then the flags.
  void resolve(const std::filesystem::path& file);

  Config config;
  TaskSections sections;
  Options options;

 private:
  std::vector<std::pair<std::string, std::string>> flags_;
};

// What is left of a verb's command line is a UsageError: an option that the verb does not read, a flag that there is
// not, with the nearest that the verb has, or an argument too many.
void refuse_extras(const CLI::App& verb, const Options& options);

}  // namespace engine
