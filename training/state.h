// The state of a training, from which it goes on bit by bit: a folder with tensors.safetensors (parameters and both
// moments of the optimizer, f32), progress.json, the configuration that it was made with and the fingerprint of the
// data (Task::fingerprint). All that is random or read from data is a function of these and the step. The folder is
// replaced in one rename.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/options.h"
#include "training/optimizer.h"

namespace engine {

struct TrainingProgress {
  int64_t step = 0;  // optimizer steps done
  bool has_best = false;
  double best = 0;   // the best value of the metric that chooses
  int64_t best_step = 0;
  int64_t evaluations_without_better = 0;
  // Sums since the last line of the log.
  double window_loss = 0, window_scored = 0, window_correct = 0;
  std::string task;  // what the task adds (Task::state)
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
};

void save_state(const std::filesystem::path& folder, const Optimizer& optimizer, const TrainingProgress& progress,
                const std::string& configuration, const std::string& fingerprint = {});

bool has_state(const std::filesystem::path& folder);
TrainingProgress read_progress(const std::filesystem::path& folder);
// Into the parameters and moments of the optimizer. An error names the tensor that is missing, misshapen or besides.
TrainingProgress load_state(const std::filesystem::path& folder, Optimizer& optimizer);

// The part of a state that another model took.
struct FittingState {
  TrainingProgress progress;
  size_t loaded = 0;                         // parameters
  std::vector<std::string> fresh, left_out;  // parameters of the model, and of the state, that the other has not
};
// Values and moments of the parameters that have the same name and shape in both; the others stay as they are.
FittingState load_fitting_state(const std::filesystem::path& folder, Optimizer& optimizer);
// An option of the configuration that a state was made with, as in a task.cfg; empty where it is not there.
std::string option_of_state(const std::filesystem::path& folder, const std::string& name);

// A UsageError where an option that shapes the training differs from the state's: it names the option and both values.
// Options that are declared as ones that may change on resuming may differ.
void check_same_training(const std::filesystem::path& folder, const Options& options);
// A UsageError, with both, where the state was made with another fingerprint. A state of an older version has none.
void check_same_data(const std::filesystem::path& folder, const std::string& fingerprint);

}  // namespace engine
