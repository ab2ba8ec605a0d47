// The folder in which a task keeps its token files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "training/config.h"

namespace engine {

// Returns the split of [data] that has these files. Their tokens are named after it, so that an evaluation of one split
// leaves the tokens of the others alone.
std::string split_of(const std::vector<std::string>& files, const DataConfig& data);

// A training uses the cache of its run folder. An evaluation uses that of the run folder whose best or last model is
// evaluated, where it can be written. Else it uses a temporary folder, which is removed at the end of the scope (a file
// that was opened there can be read on).
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
