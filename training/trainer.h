// Trainer: the loop that all tasks share. A step's batch is cut into micro-batches, whose gradients are added up; the
// loss is the mean over all scored tokens of the step whatever way it is cut. Evaluation, saving and the log read the
// training but never change it: the same bits come with any eval_every, save_every or log_every, and after any number
// of kills and resumptions. With several ranks (core/ranks.h) each has the whole model and runs its share of a step's
// sequences; gradients and losses are summed over the ranks, so that all make the same update, and the first rank alone
// writes files.
#pragma once

#include "training/control_files.h"
#include "training/optimizer.h"
#include "training/progress.h"
#include "training/schedule.h"
#include "training/state.h"
#include "training/stop_signal.h"
#include "training/task.h"
#include "training/training_folder.h"

namespace engine {

// Trains `task` as the configuration says, into the run folder output_dir/name; goes on from its state where resume is
// set, else from that of the run in init (continuation.h). Returns the program's exit code: 0 when it is done or a
// control file ended it, 130 when a signal stopped it after saving. Errors: a step whose loss or gradients are not
// finite (parameters and saved state are then those before it), files, options.
int train_task(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out = stdout);

class Trainer {
 public:
  Trainer(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out);
  int run();

 private:
  bool go_on_from_state();  // false: the run has finished
  std::string start_anew();  // returns what became of init
  void run_step();
  void log_step();
  void evaluate();
  void save();
  bool stopped_early() const;
  // What control files and signals ask for.
  struct Asked {
    bool stop_now, stop, save, stop_signal;
  };
  Asked asked_of_any_rank();
  bool is_due(int64_t every) const;

  const Config& config_;
  const Options& options_;
  Task& task_;
  Machine& machine_;
  std::FILE* out_;
  Schedule schedule_;
  Optimizer optimizer_;
  TrainingFolder folder_;
  TrainingProgress progress_;
  StopSignal stop_;
  ControlFiles control_;
  SequenceBatch batch_;
  StepReport report_;
  int64_t most_tokens_;
  double window_tokens_ = 0, window_seconds_ = 0;
  std::string last_samples_;
  std::unique_ptr<Progress> display_;
};

}  // namespace engine
