// The Trainer is the loop that all tasks share. It divides a step's batch into micro-batches, whose gradients are added
// up. The loss is the mean over all scored tokens of the step however it is divided. Evaluation, saving and the log
// read the training but never change it. The same bits come with any eval_every, save_every or log_every, and after any
// number of kills and resumptions. With several ranks (core/communicator.h) each has the whole model and runs its share
// of a step's sequences. Gradients and losses are summed over the ranks, so that all make the same update. The first
// rank alone writes files.
#pragma once

#include "training/averaging.h"
#include "training/control_files.h"
#include "training/due_steps.h"
#include "training/progress.h"
#include "training/schedule.h"
#include "training/state.h"
#include "training/stop_signal.h"
#include "training/task.h"
#include "training/training_folder.h"
#include "training/training_step.h"

namespace engine {

// Tells whoever started a training how it ended.
struct TrainingResult {
  enum class Reason {
    finished,       // all steps are done
    was_finished,   // they were done before
    stopped_early,  // evaluations became no better
    out_of_time,    // the clock ended it
    stopped,        // the control file stop ended it after saving
    stopped_now,    // the control file stop_now ended it
    interrupted     // a signal ended it after saving
  } reason = Reason::finished;
  std::string best_metric;       // the metric that chooses
  bool more_is_better = false;   // of best_metric
  std::filesystem::path folder;  // folder of the run
  int64_t step = 0;              // optimizer steps done
  Metrics metrics;               // of the last evaluation
  bool has_best = false;
  double best = 0;               // best value of best_metric
  int64_t best_step = 0;

  // Returns the program's exit code, which is 130 where a signal ended the training, else 0.
  int exit_code() const { return reason == Reason::interrupted ? 130 : 0; }
};

// Writes a result as result.json into its run folder.
void write_result(const TrainingResult& result);
// Returns whether the run folder has a result.json of the result's step.
bool has_result(const TrainingResult& result);

// Trains `task` as the configuration says, into the run folder output_dir/name. It goes on from that folder's state
// where resume is set, else from that of the run in init (continuation.h). Throws an Error where files or options are
// wrong, and for a step whose loss or gradients are not finite where no rollback is left. Parameters and saved state
// are then those before the step.
TrainingResult train_task(const Config& config, const Options& options, Task& task, Machine& machine,
                          std::FILE* out = stdout);

class Trainer {
 public:
  Trainer(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out);
  using Reason = TrainingResult::Reason;

  TrainingResult run();
  // Tells why a training that is done has ended.
  Reason reason_of_end() const;

 private:
  bool go_on_from_state();  // false: the run has finished
  std::string start_anew();  // says what became of init
  void begin_display(const std::string& init);
  std::string shards_report();  // empty where the optimizer's state is whole
  void begin_clock();
  void show_best();  // tells the display of the best evaluation so far
  // Runs steps until the end, or until something ends the training before.
  Reason train();
  // A step in two halves. A device is given the next step before the first is finished, where that may wait.
  void start_step();
  void finish_step();
  void finish_steps(int64_t but);  // all but so many
  bool may_wait(int64_t step) const;
  // Tells of a step that is started and not finished.
  struct Begun {
    int64_t batch = 0;
    float learning_rate = 0;
    int64_t sequences = 0, tokens = 0;
  };
  // Goes back to the last saved state after a step that was not finite, or throws an Error that tells of the step.
  void roll_back(const StepResult& step, const Begun& begun);
  // Logs, evaluates and saves where that is due after a step that is done, or `last` or `saves` ask for it.
  void do_due(bool last, bool saves);
  void log_step();
  void evaluate();
  void save_best();
  void save_models();  // the last one, and a checkpoint
  void save();
  TrainingProgress load();
  StateTensors state_tensors();
  bool stopped_early() const;
  bool is_done() const;
  std::string end_report() const;  // empty where all steps are done
  // Returns the seconds since the first step, evaluations and savings included, over all resumptions.
  double run_seconds() const { return machine_.seconds() - clock_begin_; }
  // Holds what control files and signals want.
  struct Wishes {
    bool stop_now, stop, save, stop_signal;
    bool any() const { return stop_now || stop || save || stop_signal; }
  };
  Wishes wishes_of_any_rank();  // and tells the schedule the time of the first rank
  bool is_first() const { return machine_.communicator.is_first(); }

  const Config& config_;
  const Options& options_;
  Task& task_;
  Machine& machine_;
  std::FILE* out_;
  Schedule schedule_;
  DueSteps due_;
  TrainingStep step_;
  Averaging averaging_;
  TrainingFolder folder_;
  TrainingProgress progress_;
  StopSignal stop_;
  ControlFiles control_;
  SequenceBatch batch_;
  std::array<Begun, 2> begun_;  // the steps that are started, the oldest first
  bool has_planned_ = false;    // the memory
  StepReport report_;
  double clock_begin_ = 0;  // the time of machine_.seconds at which run_seconds() was 0
  // The window is what comes after the last line of the log. These are the numbers of progress_ before it.
  int64_t tokens_before_window_ = 0;
  double seconds_before_window_ = 0;
  // The same before the last step, for the speed that is shown.
  int64_t tokens_before_step_ = 0;
  double seconds_before_step_ = 0;
  RunningSpeed speed_;
  Metrics last_metrics_;
  std::string last_samples_;
  std::unique_ptr<Progress> display_;
};

}  // namespace engine
