#include "training/trainer.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <numeric>
#include <sstream>

#include "core/files.h"
#include "training/best_metric.h"
#include "training/continuation.h"
#include "training/memory_plan.h"

namespace engine {

namespace {

std::string text_of_minutes(const Config& config) {
  std::ostringstream text;
  text << config.training.max_minutes;
  return text.str();
}

// Adds the seconds of its life to a sum.
class TimeAdder {
 public:
  TimeAdder(const Machine& machine, double& seconds) : machine_(machine), seconds_(seconds) {}
  ~TimeAdder() { seconds_ += machine_.seconds() - start_; }
  TimeAdder(const TimeAdder&) = delete;
  TimeAdder& operator=(const TimeAdder&) = delete;

 private:
  const Machine& machine_;
  double& seconds_;
  const double start_ = machine_.seconds();
};

}  // namespace

TrainingResult train_task(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out) {
  best_metric(config, task);  // refuses a wrong name before there is a run folder
  Trainer trainer(config, options, task, machine, out);
  const TrainingResult result = trainer.run();
  if (!machine.communicator.is_first()) return result;
  TrainingResult written = result;
  // A process that is killed between its last saving and its end writes no result.
  if (result.reason == TrainingResult::Reason::was_finished) {
    if (has_result(result)) return result;
    written.reason = trainer.reason_of_end();
  }
  write_result(written);
  return result;
}

Trainer::Trainer(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out)
    : config_(config),
      options_(options),
      task_(task),
      machine_(machine),
      out_(out),
      schedule_(config.training, training_steps(config.training, task.steps(config.training.epochs))),
      due_(config.training, task),
      step_(machine, task.parameters(), config.training, config.seed),
      averaging_(machine.ops, task.parameters(), config.training, step_.optimizer().shards()),
      folder_(RunFolder::of(config).path(), machine.communicator),
      control_(folder_) {}

TrainingResult Trainer::run() {
  std::string init;
  const bool resumes = config_.resume && has_state(folder_.state());
  Reason reason = Reason::was_finished;
  if (!resumes) init = start_anew();
  if (!resumes || go_on_from_state()) {
    schedule_.go_on_from(progress_.learning_rate_before, progress_.goes_on_since,
                         config_.training.resume_warmup_steps);
    progress_.steps = schedule_.steps();
    progress_.max_minutes = config_.training.max_minutes;
    folder_.write_config(options_.toml());
    folder_.open_logs(progress_.step);
    begin_display(init);
    begin_clock();
    // A rollback needs a state to go back to.
    if (config_.training.max_rollbacks > 0 && !has_state(folder_.state())) save();
    reason = train();
    folder_.close_logs();
  } else if (is_first()) {
    last_metrics_ = folder_.last_record("eval");
  }
  const auto [metric, more_is_better] = best_metric(config_, task_);
  return {.reason = reason,
          .best_metric = metric,
          .more_is_better = more_is_better,
          .folder = folder_.path(),
          .step = progress_.step,
          .metrics = last_metrics_,
          .has_best = progress_.has_best,
          .best = progress_.best,
          .best_step = progress_.best_step};
}

void Trainer::begin_display(const std::string& init) {
  display_ = std::make_unique<Progress>(out_, progress_style(config_.progress, out_), progress_.step,
                                        schedule_.steps());
  show_best();
  const std::string from = progress_.step ? " on from step " + std::to_string(progress_.step) : "";
  display_->line("training " + folder_.path().string() + from + ": " + std::to_string(task_.parameters().count()) +
                 " parameters, " + std::to_string(schedule_.steps()) + " steps" +
                 (config_.training.max_minutes > 0 ? ", at most " + text_of_minutes(config_) + " min" : ""));
  if (is_first())
    for (const std::string& file : control_.remove_old())
      display_->line("removed " + file + ", which was there before this training began");
  if (const std::string report = task_.start_report(); !report.empty()) display_->line(report);
  if (!init.empty()) display_->line(init);
  if (const std::string report = shards_report(); !report.empty()) display_->line(report);
  if (is_first() && folder_.log_lines() < progress_.log_lines)
    display_->line(folder_.metrics().string() + " has " + std::to_string(folder_.log_lines()) + " of the " +
                   std::to_string(progress_.log_lines) + " lines that it had at step " +
                   std::to_string(progress_.step) + ": it was cut short or changed");
  if (progress_.version == TrainingProgress::present_version) return;
  if (config_.model.dropout > 0 || config_.model.attention_dropout > 0)
    display_->line("the state is of an older version of this program: from here on dropout draws other masks");
  progress_.version = TrainingProgress::present_version;
}

// Says how much of the optimizer's state each rank holds. All ranks call it.
std::string Trainer::shards_report() {
  if (!step_.optimizer().shards().is_divided()) return "";
  float own = 0;
  for (const StateTensor& tensor : state_tensors().tensors) own += static_cast<float>(tensor.tensor.bytes());
  const std::vector<float> all = machine_.communicator.gather(std::vector<float>{own});
  const auto [least, most] = std::minmax_element(all.begin(), all.end());
  const auto text_of = [](float bytes) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(3) << bytes / (1 << 20);
    return text.str();
  };
  return "the optimizer's state of " + text_of(std::accumulate(all.begin(), all.end(), 0.0f)) +
         " MiB is divided among " + std::to_string(all.size()) + " ranks, which hold " + text_of(*least) + " to " +
         text_of(*most) + " MiB each";
}

void Trainer::begin_clock() {
  clock_begin_ = machine_.seconds() - progress_.run_seconds;
  tokens_before_window_ = progress_.tokens;
  seconds_before_window_ = seconds_before_step_ = progress_.seconds;
  tokens_before_step_ = progress_.tokens;
  schedule_.observe_time(progress_.step, progress_.run_seconds);
}

TrainingResult::Reason Trainer::train() {
  while (!is_done()) {
    start_step();
    const int64_t begun = progress_.step + step_.started();
    if (!may_wait(begun)) finish_steps(0);
    const Wishes wishes = wishes_of_any_rank();
    if (wishes.any() || schedule_.is_out_of_time()) finish_steps(0);
    finish_steps(1);
    if (step_.started() > 0) continue;
    if (wishes.stop_now) {
      display_->line("stopped at step " + std::to_string(progress_.step) +
                     " without saving, as the file stop_now asks");
      return Reason::stopped_now;
    }
    const bool last = is_done(), stop = wishes.stop || wishes.stop_signal;
    do_due(last, stop || wishes.save);
    if (wishes.save) display_->line("saved at step " + std::to_string(progress_.step));
    if (!stop || last) continue;
    display_->line("stopped at step " + std::to_string(progress_.step) + ": the same command goes on from there");
    return wishes.stop_signal ? Reason::interrupted : Reason::stopped;
  }
  display_->finish();
  if (const std::string report = end_report(); !report.empty()) display_->line(report);
  if (!last_samples_.empty()) display_->line(last_samples_);
  display_->line(progress_.has_best ? "the best model, of step " + std::to_string(progress_.best_step) + ", is in " +
                                          folder_.best().string()
                                    : "the model is in " + folder_.last().string());
  return reason_of_end();
}

TrainingResult::Reason Trainer::reason_of_end() const {
  if (stopped_early()) return Reason::stopped_early;
  return progress_.step < schedule_.steps() ? Reason::out_of_time : Reason::finished;
}

// Any rank may take a control file, signals reach the ranks at different steps, and their clocks differ.
Trainer::Wishes Trainer::wishes_of_any_rank() {
  std::array<double, 5> wishes{};
  if (is_first()) {
    wishes[4] = run_seconds();
    wishes[0] = control_.take_stop_now();
    wishes[1] = control_.take_stop();
    wishes[2] = control_.take_save();
  }
  wishes[2] += stop_.take_save();
  wishes[3] = stop_.received();
  machine_.communicator.sum(wishes);
  schedule_.observe_time(progress_.step + step_.started(), wishes[4]);
  return {.stop_now = wishes[0] > 0, .stop = wishes[1] > 0, .save = wishes[2] > 0, .stop_signal = wishes[3] > 0};
}

std::string Trainer::start_anew() {
  const std::filesystem::path own = std::filesystem::canonical(folder_.path());
  if (!config_.resume && !config_.init.empty()) {
    const auto init = std::filesystem::weakly_canonical(config_.init);
    if (std::mismatch(own.begin(), own.end(), init.begin(), init.end()).first == own.end())
      fail_usage("init = \"", config_.init,
                 "\" is in the folder of this run, which --resume false clears: give the run another name");
  }
  std::string text = go_on_from_init(config_, options_, step_.optimizer(), progress_);
  averaging_.begin();
  if (!config_.resume) folder_.clear();
  return text;
}

StateTensors Trainer::state_tensors() {
  StateTensors state{task_.parameters(), step_.optimizer().state(), &machine_.communicator};
  const std::vector<StateTensor> averages = averaging_.state();
  state.tensors.insert(state.tensors.end(), averages.begin(), averages.end());
  return state;
}

TrainingProgress Trainer::load() {
  TrainingProgress progress = load_state(folder_.state(), state_tensors());
  step_.optimizer().set_steps_before(progress.steps_before, progress.fresh);
  averaging_.set_count(progress.averaged);
  schedule_.set_observed(progress.observed);
  task_.load_state(machine_, StateFolder::written(folder_.state()).task());
  return progress;
}

bool Trainer::go_on_from_state() {
  static_cast<void>(read_progress(folder_.state()));  // refuses a torn state
  check_same_training(folder_.state(), options_);
  check_same_data(folder_.state(), task_.fingerprint());
  progress_ = load();
  schedule_.observe_time(progress_.step, progress_.run_seconds);
  // A schedule of another length has another rate here than the one that the run has come to.
  const bool has_other_minutes = progress_.max_minutes != config_.training.max_minutes;
  if (progress_.steps != 0 && (progress_.steps != schedule_.steps() || has_other_minutes)) {
    progress_.learning_rate_before = progress_.learning_rate;
    progress_.goes_on_since = progress_.step;
  }
  if (!is_done()) return true;
  const char* const length = config_.training.max_steps ? "max_steps" : "epochs";
  const char* const limit = stopped_early()                         ? "early_stopping_patience"
                            : progress_.step < schedule_.steps() ? "max_minutes"
                                                                 : length;
  std::fprintf(out_, "%s has finished, at step %lld: raise training.%s to go on, or start anew with --resume false or "
               "another --name\n", folder_.path().c_str(), static_cast<long long>(progress_.step), limit);
  return false;
}

bool Trainer::stopped_early() const {
  const int patience = config_.training.early_stopping_patience;
  return patience > 0 && progress_.evaluations_without_better >= patience;
}

std::string Trainer::end_report() const {
  if (stopped_early())
    return "stopped early: " + std::to_string(progress_.evaluations_without_better) +
           " evaluations without a better " + best_metric(config_, task_).first;
  if (progress_.step < schedule_.steps())
    return "ended by the clock at step " + std::to_string(progress_.step) + ": training.max_minutes is " +
           text_of_minutes(config_);
  return "";
}

bool Trainer::is_done() const {
  return progress_.step >= schedule_.steps() || stopped_early() || schedule_.is_out_of_time();
}

// A device works on while the host reads a step's results, unless something reads the training as it is after the step.
bool Trainer::may_wait(int64_t step) const {
  return step_.is_asynchronous() && !averaging_.acts_on(step) && !task_.follows_losses() &&
         step < schedule_.steps() && !due_.any(step);
}

void Trainer::start_step() {
  const TimeAdder adder(machine_, progress_.seconds);
  const int64_t step = progress_.step + step_.started(), batch_number = step + progress_.data_offset;
  task_.prepare(machine_, batch_number);
  task_.batch_of(batch_number, batch_);
  if (!std::exchange(has_planned_, true) && batch_.weight() > 0)
    display_->line(plan_memory(machine_, task_.parameters(), step_, averaging_, task_.loss(), batch_));
  Begun& begun = begun_[static_cast<size_t>(step_.started())];
  begun = {.batch = batch_number,
           .learning_rate = schedule_.learning_rate_at(step),
           .sequences = batch_.sequences(),
           .tokens = static_cast<int64_t>(batch_.tokens.size())};
  step_.start(task_.loss(), batch_, batch_number, step + 1, begun.learning_rate);
}

void Trainer::finish_steps(int64_t but) {
  while (step_.started() > but) finish_step();
}

void Trainer::finish_step() {
  const Begun begun = begun_[0];
  begun_[0] = begun_[1];
  StepResult step;
  {
    const TimeAdder adder(machine_, progress_.seconds);
    step = step_.finish();
    if (step.weight == 0) {
      ++progress_.steps_without_labels;
    } else {
      if (!step.is_finite()) return roll_back(step, begun);
      task_.step_done(begun.batch, step.loss());
      progress_.tokens += step.tokens;
    }
    ++progress_.step;
    averaging_.update(progress_.step);
  }
  progress_.learning_rate = static_cast<double>(begun.learning_rate);
  progress_.window_loss += step.loss_sum;
  progress_.window_correct += step.correct;
  progress_.window_scored += step.weight;
  speed_.add(static_cast<double>(progress_.tokens - tokens_before_step_), progress_.seconds - seconds_before_step_);
  tokens_before_step_ = progress_.tokens;
  seconds_before_step_ = progress_.seconds;
  report_ = {.step = progress_.step,
             .scored = progress_.window_scored > 0,
             .loss = progress_.window_scored > 0 ? progress_.window_loss / progress_.window_scored : 0,
             .learning_rate = progress_.learning_rate,
             .gradient_norm = static_cast<double>(step.gradient_norm),
             .tokens_per_second = static_cast<double>(progress_.tokens - tokens_before_window_) /
                                  (progress_.seconds - seconds_before_window_),
             .mean_speed = speed_.value(),
             .seconds_left = schedule_.seconds_left()};
  display_->show(report_);
}

void Trainer::roll_back(const StepResult& step, const Begun& begun) {
  const int64_t failed = progress_.step + 1;
  std::ostringstream what;
  what << "step " << failed << ": the loss is " << step.loss() << ", the gradient's norm " << step.gradient_norm
       << " (batch of " << begun.sequences << " sequences, " << begun.tokens << " tokens)";
  if (progress_.rollbacks >= config_.training.max_rollbacks)
    fail(what.str(), ". The parameters are those before this step; try a lower training.learning_rate, more ",
         "training.warmup_steps, training.max_grad_norm = 1 or precision = \"f32\"",
         progress_.rollbacks ? ", or raise training.max_rollbacks" : "");
  const TrainingProgress before = progress_;
  progress_ = load();
  task_.parameters().gradients().zero();
  progress_.rollbacks = before.rollbacks + 1;
  // The data goes on behind the failed batch. The best model since then stays the best.
  progress_.data_offset = before.data_offset + failed - progress_.step;
  progress_.has_best = before.has_best;
  progress_.best = before.best;
  progress_.best_step = before.best_step;
  progress_.evaluations_without_better = before.evaluations_without_better;
  // The steps that were for nothing took their time, too.
  progress_.seconds = before.seconds;
  tokens_before_window_ = progress_.tokens;
  seconds_before_window_ = seconds_before_step_ = progress_.seconds;
  tokens_before_step_ = progress_.tokens;
  folder_.open_logs(progress_.step);
  display_->line(what.str() + ": back to step " + std::to_string(progress_.step) + ", rollback " +
                 std::to_string(progress_.rollbacks) + " of " + std::to_string(config_.training.max_rollbacks));
  save();
}

}  // namespace engine
