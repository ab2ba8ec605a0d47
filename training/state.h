// The state of a training, from which it goes on bit by bit: a folder with tensors.safetensors (parameters and both
// moments of the optimizer, f32), progress.json, the configuration that it was made with and the fingerprint of the
// data (Task::fingerprint). All that is random or read from data is a function of these and the step. The folder is
// replaced in one rename.
#pragma once

#include <filesystem>
#include <string>

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
};

void save_state(const std::filesystem::path& folder, const Optimizer& optimizer, const TrainingProgress& progress,
                const std::string& configuration, const std::string& fingerprint = {});

bool has_state(const std::filesystem::path& folder);
// Into the parameters and moments of the optimizer. An error names the tensor that is missing, misshapen or besides.
TrainingProgress load_state(const std::filesystem::path& folder, Optimizer& optimizer);

// A UsageError where an option that shapes the training differs from the state's: it names the option and both values.
// Options of the machine, the log and the length of the training may differ.
void check_same_training(const std::filesystem::path& folder, const Options& options);
// A UsageError, with both, where the state was made with another fingerprint. A state of an older version has none.
void check_same_data(const std::filesystem::path& folder, const std::string& fingerprint);

}  // namespace engine
