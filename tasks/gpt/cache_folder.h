// Where a gpt task keeps its token files.
#pragma once

#include <filesystem>

#include "training/config.h"

namespace engine {

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
