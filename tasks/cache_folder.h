// Where a task keeps its token files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "training/config.h"

namespace engine {

// The split of [data] that these are the files of: their tokens are named after it, so that an evaluation of one leaves
// those of the others alone.
std::string split_of(const std::vector<std::string>& files, const DataConfig& data);

// Of a training: cache/ of its run folder. Of an evaluation: that of the run folder whose best/ or last/ is evaluated,
// where it can be written; else a temporary folder, which is removed at the end of the scope (a file that was opened
// there can be read on).
class CacheFolder {
 public:
  CacheFolder(const Config& config, bool training);
  ~CacheFolder();
  CacheFolder(const CacheFolder&) = delete;
  CacheFolder& operator=(const CacheFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool is_temporary_ = false;
};

}  // namespace engine
