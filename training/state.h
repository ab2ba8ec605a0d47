// The state of a training, from which it goes on bit by bit: a folder with tensors.safetensors (values and the optimizer's
// state, f32), progress.json, the configuration that it was made with, the fingerprint of the data (Task::fingerprint)
// and the task's own folder. All that is random or read from data is a function of these and the step. The folder is
// replaced in one rename.
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
  double best = 0;   // the best value of the metric that chooses
  int64_t best_step = 0;
  int64_t evaluations_without_better = 0;
  // Sums since the last line of the log.
  double window_loss = 0, window_scored = 0, window_correct = 0;
  double learning_rate = 0;  // of the last step
  // Of a training that went on from another run's state: that one's steps, and the parameters whose moments it did not
  // have. steps_before 0: there was none.
  int64_t steps_before = 0;
  std::vector<std::string> fresh;
  // The rate that the learning rate goes on from (Schedule::go_on_from), and since which step: that of the other run,
  // or this run's own last one when it was made longer.
  double learning_rate_before = 0;
  int64_t goes_on_since = 0;
  int64_t steps = 0;  // of the whole training, as it was planned
  // Rollbacks so far, and by how many batches the data is ahead of the steps since.
  int64_t rollbacks = 0, data_offset = 0;
  int64_t steps_without_labels = 0;  // batches that were passed over
  int64_t averaged = 0;              // steps that weight averages are a mean of (Averaging)
  Schedule::Observed observed;
  // The version of the program's states: 1 had other dropout masks.
  static constexpr int64_t present_version = 2;
  int64_t version = present_version;
};

// What a state holds beside its progress. Values are written and read through the table.
struct StateTensors {
  Parameters& parameters;
  std::vector<StateTensor> tensors;  // of the optimizer and of averaging
};

// Writes the folder. save_task(folder) adds what the task has to keep.
void save_state(const std::filesystem::path& folder, const StateTensors& tensors, const TrainingProgress& progress,
                const std::string& configuration, const std::string& fingerprint = {},
                const std::function<void(const std::filesystem::path&)>& save_task = {});

bool has_state(const std::filesystem::path& folder);
TrainingProgress read_progress(const std::filesystem::path& folder);
// Into the values and the tensors. An error names the tensor that is missing, misshapen or besides.
TrainingProgress load_state(const std::filesystem::path& folder, const StateTensors& tensors);

// A file in the task's part of a state, as text. States of version 1 had a line of text in its place, which they give
// whatever the file. An error where it is missing.
std::string read_task_state(const std::filesystem::path& task_folder, const std::string& file);

// The part of a state that another model took.
struct FittingState {
  TrainingProgress progress;
  size_t loaded = 0;                         // parameters
  std::vector<std::string> fresh, left_out;  // parameters of the model, and of the state, that the other has not
};
// Values and moments of the parameters that have the same name and shape in both; the others stay as they are.
FittingState load_fitting_state(const std::filesystem::path& folder, const StateTensors& tensors);
// An option of the configuration that a state was made with, as in a task.cfg; empty where it is not there.
std::string option_of_state(const std::filesystem::path& folder, const std::string& name);

// A UsageError where an option that shapes the training differs from the state's: it names the option and both values.
// Options that are declared as ones that may change on resuming may differ.
void check_same_training(const std::filesystem::path& folder, const Options& options);
// A UsageError, with both, where the state was made with another fingerprint. A state of an older version has none.
void check_same_data(const std::filesystem::path& folder, const std::string& fingerprint);

}  // namespace engine
