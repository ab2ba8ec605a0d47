// Control files: a file in the run folder asks the training there for something after its present step, and is removed
// when it is obeyed: `stop` to save and end, `stop_now` to end without saving, `save_checkpoint` to save and go on.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace engine {

inline constexpr const char* control_file_names[] = {"stop", "stop_now", "save_checkpoint"};

class ControlFiles {
 public:
  explicit ControlFiles(const std::filesystem::path& run);

  // Removes those that are older than this process, which were meant for an earlier one, and gives their names.
  std::vector<std::string> remove_old() const;
  // True where the file is there, which it is then no more.
  bool take_stop() const { return take(stop_); }
  bool take_stop_now() const { return take(stop_now_); }
  bool take_save() const { return take(save_); }

 private:
  static bool take(const std::string& file);

  std::string stop_, stop_now_, save_;
};

}  // namespace engine
