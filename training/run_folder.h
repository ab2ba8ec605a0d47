// RunFolder knows every name in the folder of a run, output_dir/name. No other file spells them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "training/config.h"

namespace engine {

// A state folder has these files, from which a training goes on (state.h).
class StateFolder {
 public:
  // Finds a folder that write_folder wrote, or the former one where a killed writer left only that.
  static StateFolder written(const std::filesystem::path& folder);
  explicit StateFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path tensors() const { return path_ / "tensors.safetensors"; }
  std::filesystem::path progress() const { return path_ / "progress.json"; }
  std::filesystem::path configuration() const { return path_ / "task.cfg"; }
  std::filesystem::path fingerprint() const { return path_ / "data.txt"; }
  std::filesystem::path task() const { return path_ / "task"; }

 private:
  std::filesystem::path path_;
};

// Throws a UsageError where a run's name is empty or not the name of one folder, or one that a shell or another system
// would not take as it is.
void check_name(const std::string& name);

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  // Returns output_dir/name. Throws a UsageError where check_name does.
  static RunFolder of(const Config& config);
  // Returns the run folder whose best or last model is in this folder. Its path is empty where there is none.
  static RunFolder around(const std::filesystem::path& model);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "task.cfg"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path predictions() const { return path_ / "predictions.jsonl"; }
  std::filesystem::path result() const { return path_ / "result.json"; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path sample(int64_t step) const;
  std::filesystem::path best() const { return path_ / "best"; }
  std::filesystem::path last() const { return path_ / "last"; }
  std::filesystem::path checkpoint(int64_t step) const;
  std::filesystem::path state() const { return path_ / "state"; }
  std::filesystem::path cache() const { return path_ / "cache"; }
  // Examples of how a model changed the rows of its training: "star", "aug" and "axe" are its changes.
  std::filesystem::path examples(const std::string& change) const { return path_ / (change + "_samples.txt"); }
  // These are the control files (control_files.h).
  std::filesystem::path stop() const { return path_ / "stop"; }
  std::filesystem::path stop_now() const { return path_ / "stop_now"; }
  std::filesystem::path save_checkpoint() const { return path_ / "save_checkpoint"; }
  // TensorBoard reads files whose names begin with "events.out.tfevents.".
  std::filesystem::path events(int64_t number) const;

  // Returns the best model, else the last one. It is empty where there is neither.
  std::filesystem::path model() const;
  // Returns the steps of the checkpoints that are there, the latest first.
  std::vector<int64_t> checkpoints() const;
  // Everything that trainings wrote here and --resume false removes. The state, from which a training goes on, comes
  // first, so that a process that is killed between two removals leaves no state without the rest. task.cfg and the
  // cache are not among them.
  std::vector<std::filesystem::path> written() const;

 private:
  std::filesystem::path path_;
};

}  // namespace engine
