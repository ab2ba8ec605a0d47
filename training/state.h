// A training goes on from its state bit by bit. The state is a folder with tensors.safetensors (values and the
// optimizer's state, f32), progress.json, the configuration that it was made with, the fingerprint of the data
// (Task::fingerprint) and the task's own folder. All that is random or read from data is a function of these and the
// step. The folder is replaced in one rename. progress.json also has the sizes of all other files, so that one
// that was cut short, or lost, is told from a whole one.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/options.h"
#include "training/optimizer.h"
#include "training/schedule.h"

namespace engine {

struct TrainingProgress {
  int64_t step = 0;  // optimizer steps done
  bool has_best = false;
  double best = 0;   // best value of the metric that chooses
  int64_t best_step = 0;
  int64_t evaluations_without_better = 0;
  // These are sums since the last line of the log.
  double window_loss = 0, window_scored = 0, window_correct = 0;
  double learning_rate = 0;  // of the last step
  int64_t tokens = 0;        // of the batches so far that were trained on
  double seconds = 0;        // that the steps took
  double run_seconds = 0;    // with evaluations and savings
  double max_minutes = 0;    // of the whole training; 0: any
  // These are the steps of the other run whose state a training went on from, and the parameters whose moments that
  // state did not have. steps_before is 0 without another run.
  int64_t steps_before = 0;
  std::vector<std::string> fresh;
  // The learning rate goes on from this rate (Schedule::go_on_from), since this step. It is that of the other run, or
  // this run's own last one when it was made longer.
  double learning_rate_before = 0;
  int64_t goes_on_since = 0;
  int64_t steps = 0;  // planned steps of the whole training
  // Counts the rollbacks so far, and the batches that the data is ahead of the steps since then.
  int64_t rollbacks = 0, data_offset = 0;
  int64_t steps_without_labels = 0;  // batches that were passed over
  int64_t averaged = 0;              // averaged steps (Averaging)
  int64_t log_lines = 0;             // of metrics.jsonl
  Schedule::Observed observed;
  // This is the version of the program's states. Version 1 had other dropout masks.
  static constexpr int64_t present_version = 2;
  int64_t version = present_version;
};

// A state holds these beside its progress. Values are written and read through the table.
struct StateTensors {
  Parameters& parameters;
  std::vector<StateTensor> tensors;  // of the optimizer and of averaging
  Communicator* ranks = nullptr;     // where there are shards, the ranks that have them
};

// Writes the folder. save_task(folder) adds the task's own files. Whole tensors are written. Meanwhile the ranks that
// have shards of them and do not write call send_shards.
void save_state(const std::filesystem::path& folder, const StateTensors& tensors, const TrainingProgress& progress,
                const std::string& configuration, const std::string& fingerprint = {},
                const std::function<void(const std::filesystem::path&)>& save_task = {});

void send_shards(const StateTensors& tensors);

// Throws an Error for a folder that is there without progress.json.
bool has_state(const std::filesystem::path& folder);
// Throws an Error where a file of the state is missing or has another size than it was written with.
TrainingProgress read_progress(const std::filesystem::path& folder);
// Reads into the values and the tensors. An Error names the tensor that is missing, misshapen or unexpected.
TrainingProgress load_state(const std::filesystem::path& folder, const StateTensors& tensors);

// Returns a file in the task's part of a state as text. States of version 1 had a line of text in its place, which this
// returns for any file. Throws an Error where it is missing.
std::string read_task_state(const std::filesystem::path& task_folder, const std::string& file);

// Tells which part of a state another model took.
struct FittingState {
  TrainingProgress progress;
  size_t loaded = 0;                         // parameters
  std::vector<std::string> fresh, left_out;  // parameters that only the model, or only the state, has
};
// Loads values and moments of the parameters that have the same name and shape in both. The others stay as they are.
FittingState load_fitting_state(const std::filesystem::path& folder, const StateTensors& tensors);
// Returns an option of the configuration that a state was made with, as in a task.cfg, or nothing where it is not
// there.
std::string option_of_state(const std::filesystem::path& folder, const std::string& name);

// A UsageError where an option that shapes the training differs from the state's: it names the option and both values.
// Options that are declared as ones that may change on resuming may differ.
void check_same_training(const std::filesystem::path& folder, const Options& options);
// Throws a UsageError with both fingerprints where the state was made with another one. A state of an older version has
// none.
void check_same_data(const std::filesystem::path& folder, const std::string& fingerprint);

}  // namespace engine
