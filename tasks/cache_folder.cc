#include "tasks/cache_folder.h"

#include <unistd.h>

#include <cstdlib>

#include "core/error.h"
#include "training/run_folder.h"

namespace engine {

namespace fs = std::filesystem;

namespace {

bool is_writable(const fs::path& folder) { return access(folder.c_str(), W_OK | X_OK) == 0; }

}  // namespace

std::string split_of(const std::vector<std::string>& files, const DataConfig& data) {
  return files == data.train ? "train" : files == data.test ? "test" : "eval";
}

CacheFolder::CacheFolder(const Config& config, bool training) {
  if (training) {
    path_ = RunFolder::of(config).cache();
    return;
  }
  const RunFolder run = RunFolder::around(config.init);
  path_ = run.cache();
  if (!run.path().empty() && is_writable(fs::exists(path_) ? path_ : run.path())) return;
  std::string name = (fs::temp_directory_path() / "engine_tokens_XXXXXX").string();
  if (!mkdtemp(name.data())) fail("cannot make a temporary folder ", name, " for the tokens of the evaluation data");
  path_ = name;
  is_temporary_ = true;
}

CacheFolder::~CacheFolder() {
  std::error_code ignored;
  if (is_temporary_) fs::remove_all(path_, ignored);
}

}  // namespace engine
