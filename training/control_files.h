// A control file in the run folder makes the training there do something after its present step, and is removed when it
// is obeyed. `stop` saves and ends, `stop_now` ends without saving, `save_checkpoint` saves and goes on.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "training/run_folder.h"

namespace engine {

class ControlFiles {
 public:
  explicit ControlFiles(const RunFolder& run)
      : stop_(run.stop()), stop_now_(run.stop_now()), save_(run.save_checkpoint()) {}

  // Removes the files that are older than this process, which were meant for an earlier one, and returns their names.
  std::vector<std::string> remove_old() const;
  // Each of these removes its file and returns whether it was there.
  bool take_stop() const { return take(stop_); }
  bool take_stop_now() const { return take(stop_now_); }
  bool take_save() const { return take(save_); }

 private:
  static bool take(const std::filesystem::path& file);

  // Their names are kept, since a step makes none.
  std::filesystem::path stop_, stop_now_, save_;
};

}  // namespace engine
