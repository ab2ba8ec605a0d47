// TrainingFolder writes the run folder of a training: the configuration as it was resolved, the logs, the samples and
// the predictions. The trainer writes its models and its state, under the names that RunFolder gives.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "training/run_folder.h"
#include "training/task.h"
#include "training/tensorboard.h"

namespace engine {

class TrainingFolder : public RunFolder {
 public:
  // Makes a missing folder. Throws an Error where it cannot be written, or another process trains in it. Only the first
  // of several ranks writes. All that follows does nothing on the others.
  TrainingFolder(const std::filesystem::path& folder, const Communicator& ranks);
  ~TrainingFolder();
  TrainingFolder(const TrainingFolder&) = delete;
  TrainingFolder& operator=(const TrainingFolder&) = delete;

  // Removes what an earlier training wrote here, and nothing else.
  void clear();
  // Opens the logs behind `step`. Lines of later steps are removed from metrics.jsonl, since these steps are repeated.
  void open_logs(int64_t step);
  // Throws an Error where a piece of a log was not written.
  void close_logs();
  int64_t log_lines() const { return log_lines_; }  // of metrics.jsonl, since it is open
  // Returns the numbers of the last line of a split in metrics.jsonl, or none.
  Metrics last_record(const std::string& split) const;

  void write_config(const std::string& toml) const;
  // Writes a line of metrics.jsonl and a TensorBoard event.
  void record(int64_t step, const std::string& split, const Metrics& metrics);
  // Replaces the predictions of the evaluation before.
  void write_predictions(const std::string& lines) const;
  void write_samples(int64_t step, const std::string& text) const;
  // Removes the numbered checkpoints but the `keep` latest.
  void keep_checkpoints(int keep) const;

 private:
  const bool is_first_;  // whether this rank writes
  int lock_ = -1, log_ = -1;
  int64_t log_lines_ = 0;
  std::unique_ptr<EventWriter> events_;
};

}  // namespace engine
