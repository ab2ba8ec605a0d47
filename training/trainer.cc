#include "training/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <sstream>

#include "core/files.h"
#include "training/continuation.h"

namespace engine {

namespace {

// Returns the metric that chooses the best model, and whether more of it is better. Throws a UsageError where the task
// has none of that name.
std::pair<std::string, bool> best_metric(const Config& config, const Task& task) {
  const std::string& name = config.training.best_metric;
  if (name.empty()) return task.best_metric();
  const std::vector<std::string> names = task.metric_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string known;
    for (const std::string& one : names) known += (known.empty() ? "" : ", ") + one;
    fail_usage("training.best_metric is ", name, ", which this task does not measure: it measures ", known);
  }
  return {name, !name.ends_with("loss") && !name.ends_with("perplexity")};
}

std::string text_of(const Metrics& metrics) {
  std::ostringstream text;
  for (const auto& [name, value] : metrics) text << "  " << name << ' ' << value;
  return text.str();
}

// Returns whether something that is done every so many steps, or never (0), is done after this step.
bool is_due(int64_t every, int64_t step) { return every > 0 && step % every == 0; }

// Adds the seconds of its life to a sum.
class TimeAdder {
 public:
  explicit TimeAdder(double& seconds) : seconds_(seconds) {}
  ~TimeAdder() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  TimeAdder(const TimeAdder&) = delete;
  TimeAdder& operator=(const TimeAdder&) = delete;

 private:
  double& seconds_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

TrainingResult train_task(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out) {
  best_metric(config, task);  // refuses a wrong name before there is a run folder
  return Trainer(config, options, task, machine, out).run();
}

Trainer::Trainer(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out)
    : config_(config),
      options_(options),
      task_(task),
      machine_(machine),
      out_(out),
      schedule_(config.training, training_steps(config.training, task.steps(config.training.epochs))),
      step_(machine, task.parameters(), config.training, config.seed),
      folder_(RunFolder::of(config).path(), machine.communicator),
      control_(folder_) {
  const TrainingConfig& training = config.training;
  if (training.swa_start > 0)
    averaging_ =
        std::make_unique<Averaging>(machine.ops, task.parameters(), training.swa_start, training.swa_every);
}

TrainingResult Trainer::run() {
  std::string init;
  const bool resumes = config_.resume && has_state(folder_.state());
  Reason reason = Reason::was_finished;
  if (!resumes) init = start_anew();
  if (!resumes || go_on_from_state()) {
    schedule_.go_on_from(progress_.learning_rate_before, progress_.goes_on_since,
                         config_.training.resume_warmup_steps);
    progress_.steps = schedule_.steps();
    folder_.write_config(options_.toml());
    folder_.open_logs(progress_.step);
    begin_display(init);
    // A rollback needs a state to go back to.
    if (config_.training.max_rollbacks > 0 && !has_state(folder_.state())) save();
    reason = train();
  }
  return {.reason = reason,
          .folder = folder_.path(),
          .step = progress_.step,
          .metrics = last_metrics_,
          .has_best = progress_.has_best,
          .best = progress_.best,
          .best_step = progress_.best_step};
}

void Trainer::begin_display(const std::string& init) {
  const bool terminal = isatty(fileno(out_)) == 1;
  display_ = std::make_unique<Progress>(out_, terminal, progress_.step, schedule_.steps());
  const std::string from = progress_.step ? " on from step " + std::to_string(progress_.step) : "";
  display_->line("training " + folder_.path().string() + from + ": " + std::to_string(task_.parameters().count()) +
                 " parameters, " + std::to_string(schedule_.steps()) + " steps");
  if (is_first())
    for (const std::string& file : control_.remove_old())
      display_->line("removed " + file + ", which was there before this training began");
  if (const std::string report = task_.start_report(); !report.empty()) display_->line(report);
  if (!init.empty()) display_->line(init);
  if (progress_.version == TrainingProgress::present_version) return;
  if (config_.model.dropout > 0 || config_.model.attention_dropout > 0)
    display_->line("the state is of an older version of this program: from here on dropout draws other masks");
  progress_.version = TrainingProgress::present_version;
}

TrainingResult::Reason Trainer::train() {
  while (progress_.step < schedule_.steps() && !stopped_early()) {
    start_step();
    const int64_t begun = progress_.step + step_.started();
    if (!may_wait(begun)) finish_steps(0);
    const Wishes wishes = wishes_of_any_rank();
    if (wishes.any()) finish_steps(0);
    finish_steps(1);
    if (step_.started() > 0) continue;
    if (wishes.stop_now) {
      display_->line("stopped at step " + std::to_string(progress_.step) +
                     " without saving, as the file stop_now asks");
      return Reason::stopped_now;
    }
    const bool last = progress_.step == schedule_.steps();
    if (last || is_due(config_.training.log_every, progress_.step)) log_step();
    if (last || is_due(config_.training.eval_every, progress_.step)) evaluate();
    const bool stop = wishes.stop || wishes.stop_signal;
    if (last || stop || wishes.save || stopped_early() || is_due(config_.training.save_every, progress_.step)) save();
    if (wishes.save) display_->line("saved at step " + std::to_string(progress_.step));
    if (!stop || last) continue;
    display_->line("stopped at step " + std::to_string(progress_.step) + ": the same command goes on from there");
    return wishes.stop_signal ? Reason::interrupted : Reason::stopped;
  }
  display_->finish();
  if (stopped_early())
    display_->line("stopped early: " + std::to_string(progress_.evaluations_without_better) +
                   " evaluations without a better " + best_metric(config_, task_).first);
  if (!last_samples_.empty()) display_->line(last_samples_);
  display_->line(progress_.has_best ? "the best model, of step " + std::to_string(progress_.best_step) + ", is in " +
                                          folder_.best().string()
                                    : "the model is in " + folder_.last().string());
  return stopped_early() ? Reason::stopped_early : Reason::finished;
}

// Any rank may take a control file, and signals reach the ranks at different steps.
Trainer::Wishes Trainer::wishes_of_any_rank() {
  std::array<float, 4> wishes{};
  if (is_first()) {
    wishes[0] = control_.take_stop_now();
    wishes[1] = control_.take_stop();
    wishes[2] = control_.take_save();
  }
  wishes[2] += stop_.take_save();
  wishes[3] = stop_.received();
  machine_.communicator.sum(wishes);
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
  if (!config_.resume) folder_.clear();
  return text;
}

StateTensors Trainer::state_tensors() {
  StateTensors state{task_.parameters(), step_.optimizer().state()};
  if (!averaging_) return state;
  const std::vector<StateTensor> averages = averaging_->state();
  state.tensors.insert(state.tensors.end(), averages.begin(), averages.end());
  return state;
}

TrainingProgress Trainer::load() {
  TrainingProgress progress = load_state(folder_.state(), state_tensors());
  step_.optimizer().set_steps_before(progress.steps_before, progress.fresh);
  if (averaging_) averaging_->set_count(progress.averaged);
  schedule_.set_observed(progress.observed);
  task_.load_state(machine_, StateFolder::written(folder_.state()).task());
  return progress;
}

bool Trainer::go_on_from_state() {
  check_same_training(folder_.state(), options_);
  check_same_data(folder_.state(), task_.fingerprint());
  progress_ = load();
  // A schedule of another length has another rate here than the one that the run has come to.
  if (progress_.steps != 0 && progress_.steps != schedule_.steps()) {
    progress_.learning_rate_before = progress_.learning_rate;
    progress_.goes_on_since = progress_.step;
  }
  if (progress_.step < schedule_.steps() && !stopped_early()) return true;
  const char* const length = config_.training.max_steps ? "max_steps" : "epochs";
  const char* const limit = stopped_early() ? "early_stopping_patience" : length;
  std::fprintf(out_, "%s has finished, at step %lld: raise training.%s to go on, or start anew with --resume false or "
               "another --name\n", folder_.path().c_str(), static_cast<long long>(progress_.step), limit);
  return false;
}

bool Trainer::stopped_early() const {
  const int patience = config_.training.early_stopping_patience;
  return patience > 0 && progress_.evaluations_without_better >= patience;
}

// A device works on while the host reads a step's results, unless something reads the training as it is after the step.
bool Trainer::may_wait(int64_t step) const {
  const TrainingConfig& training = config_.training;
  return step_.is_asynchronous() && !averaging_ && !task_.follows_losses() && step < schedule_.steps() &&
         !is_due(training.log_every, step) && !is_due(training.eval_every, step) && !is_due(training.save_every, step);
}

void Trainer::start_step() {
  const TimeAdder adder(window_seconds_);
  const int64_t step = progress_.step + step_.started(), batch_number = step + progress_.data_offset;
  task_.prepare(machine_, batch_number);
  task_.batch_of(batch_number, batch_);
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
    const TimeAdder adder(window_seconds_);
    step = step_.finish();
    if (step.weight == 0) {
      ++progress_.steps_without_labels;
    } else {
      if (!step.is_finite()) return roll_back(step, begun);
      task_.step_done(begun.batch, step.loss());
    }
    ++progress_.step;
    if (averaging_) averaging_->update(progress_.step);
  }
  progress_.learning_rate = static_cast<double>(begun.learning_rate);
  progress_.window_loss += step.loss_sum;
  progress_.window_correct += step.correct;
  progress_.window_scored += step.weight;
  window_tokens_ += static_cast<double>(step.tokens);
  report_ = {.step = progress_.step,
             .scored = progress_.window_scored > 0,
             .loss = progress_.window_scored > 0 ? progress_.window_loss / progress_.window_scored : 0,
             .learning_rate = progress_.learning_rate,
             .gradient_norm = static_cast<double>(step.gradient_norm),
             .tokens_per_second = window_tokens_ / window_seconds_};
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
  folder_.open_logs(progress_.step);
  display_->line(what.str() + ": back to step " + std::to_string(progress_.step) + ", rollback " +
                 std::to_string(progress_.rollbacks) + " of " + std::to_string(config_.training.max_rollbacks));
  save();
}

void Trainer::log_step() {
  Metrics metrics{{"learning_rate", report_.learning_rate},
                  {"grad_norm", report_.gradient_norm},
                  {"tokens_per_second", report_.tokens_per_second}};
  if (progress_.window_scored > 0)
    metrics.insert(metrics.begin(),
                   {{"loss", report_.loss}, {"accuracy", progress_.window_correct / progress_.window_scored}});
  for (const auto& [name, count] : {std::pair{"rollbacks", progress_.rollbacks},
                                    std::pair{"steps_without_labels", progress_.steps_without_labels}})
    if (count) metrics.emplace_back(name, static_cast<double>(count));
  const Metrics own = task_.log(machine_);
  metrics.insert(metrics.end(), own.begin(), own.end());
  folder_.record(progress_.step, "train", metrics);
  display_->log(report_);
  progress_.window_loss = progress_.window_correct = progress_.window_scored = 0;
  window_tokens_ = window_seconds_ = 0;
}

void Trainer::evaluate() {
  std::string samples;
  if (averaging_) averaging_->swap();
  last_metrics_ = task_.evaluate(machine_, samples);
  if (!samples.empty()) folder_.write_samples(progress_.step, samples);
  if (const std::string lines = task_.predictions(); !lines.empty()) folder_.write_predictions(lines);
  last_samples_ = std::move(samples);
  // The metrics are empty without data to evaluate on.
  if (!last_metrics_.empty()) save_best();
  if (averaging_) averaging_->swap();
}

void Trainer::save_best() {
  const auto [name, more_is_better] = best_metric(config_, task_);
  const auto chooses = [&name = name](const auto& metric) { return metric.first == name; };
  const auto found = std::find_if(last_metrics_.begin(), last_metrics_.end(), chooses);
  require(found != last_metrics_.end(), "the evaluation gives no metric ", name, ", which chooses the best model, but",
          text_of(last_metrics_));
  const double value = found->second;
  const bool better = std::isfinite(value) &&
                      (!progress_.has_best || (more_is_better ? value > progress_.best : value < progress_.best));
  folder_.record(progress_.step, "eval", last_metrics_);
  display_->line("eval at step " + std::to_string(progress_.step) + text_of(last_metrics_) +
                 (better ? "  (best)" : ""));
  if (schedule_.observe(better))
    display_->line("no better " + name + " in a while: the learning rate is reduced to " +
                   std::to_string(schedule_.learning_rate_at(progress_.step)));
  progress_.observed = schedule_.observed();
  if (!better) {
    ++progress_.evaluations_without_better;
    return;
  }
  progress_.has_best = true;
  progress_.best = value;
  progress_.best_step = progress_.step;
  progress_.evaluations_without_better = 0;
  if (is_first())
    write_folder(folder_.best(), [&](const std::filesystem::path& aside) { task_.save_model(aside); });
}

void Trainer::save() {
  if (averaging_) progress_.averaged = averaging_->count();
  // Every rank takes part in saving the task's state, and the first one writes.
  if (!is_first()) return task_.save_state(machine_, StateFolder(folder_.state()).task());
  const auto save_model = [&](const std::filesystem::path& aside) { task_.save_model(aside); };
  if (averaging_) averaging_->swap();
  if (config_.training.keep_checkpoints > 0) {
    write_folder(folder_.checkpoint(progress_.step), save_model);
    folder_.keep_checkpoints(config_.training.keep_checkpoints);
  }
  write_folder(folder_.last(), save_model);
  if (averaging_) averaging_->swap();
  save_state(folder_.state(), state_tensors(), progress_, options_.toml(), task_.fingerprint(),
             [&](const std::filesystem::path& aside) { task_.save_state(machine_, aside); });
}

}  // namespace engine
