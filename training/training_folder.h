// TrainingFolder: what a training writes: output_dir/name with task.cfg (as resolved), metrics.jsonl,
// predictions.jsonl, TensorBoard event files, samples/, the model folders best/, last/ and checkpoint-STEP/, and state/
// (see state.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "training/task.h"
#include "training/tensorboard.h"

namespace engine {

class TrainingFolder {
 public:
  // Makes the folder where it is not there. An error where it cannot be written, or another process trains in it. Of
  // several ranks the first alone writes: for the others all that follows does nothing.
  explicit TrainingFolder(std::filesystem::path path);
  ~TrainingFolder();
  TrainingFolder(const TrainingFolder&) = delete;
  TrainingFolder& operator=(const TrainingFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path state() const { return path_ / "state"; }
  std::filesystem::path best() const { return path_ / "best"; }
  std::filesystem::path last() const { return path_ / "last"; }
  std::filesystem::path checkpoint(int64_t step) const { return path_ / ("checkpoint-" + std::to_string(step)); }

  // Removes what an earlier training left here, and nothing else.
  void clear();
  // Opens the logs behind `step`: what metrics.jsonl says of later steps is cut off, since they come again.
  void open_logs(int64_t step);

  void write_config(const std::string& toml) const;
  // A line of metrics.jsonl and a TensorBoard event.
  void record(int64_t step, const std::string& split, const Metrics& metrics);
  // Of the last evaluation: what an earlier one wrote is replaced.
  void write_predictions(const std::string& lines) const;
  void write_samples(int64_t step, const std::string& text) const;
  // Removes the numbered checkpoints but the `keep` latest.
  void keep_checkpoints(int keep) const;

 private:
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }

  std::filesystem::path path_;
  int lock_ = -1, metrics_ = -1;
  std::unique_ptr<EventWriter> events_;
};

}  // namespace engine
