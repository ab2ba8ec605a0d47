#include "training/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <sstream>

#include "core/files.h"
#include "core/ranks.h"
#include "training/continuation.h"

namespace engine {

namespace {

// The metric that chooses the best model, and whether more of it is better. A UsageError where the task has none of
// that name.
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

}  // namespace

int train_task(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out) {
  best_metric(config, task);  // a wrong name is an error before there is a run folder
  return Trainer(config, options, task, machine, out).run();
}

Trainer::Trainer(const Config& config, const Options& options, Task& task, Machine& machine, std::FILE* out)
    : config_(config),
      options_(options),
      task_(task),
      machine_(machine),
      out_(out),
      schedule_(config.training, training_steps(config.training, task.steps(config.training.epochs))),
      optimizer_(machine.ops, task.parameters(), config.training, machine.compute),
      folder_(RunFolder::of(config).path()),
      control_(folder_),
      most_tokens_(tokens_at_once(task.parameters())) {}

int Trainer::run() {
  std::string init;
  if (config_.resume && has_state(folder_.state())) {
    if (!go_on_from_state()) return 0;
  } else {
    init = start_anew();
  }
  schedule_.go_on_from(progress_.learning_rate_before, progress_.goes_on_since, config_.training.resume_warmup_steps);
  progress_.steps = schedule_.steps();
  folder_.write_config(options_.toml());
  folder_.open_logs(progress_.step);
  const bool terminal = isatty(fileno(out_)) == 1;
  display_ = std::make_unique<Progress>(out_, terminal, progress_.step, schedule_.steps());
  const std::string from = progress_.step ? " on from step " + std::to_string(progress_.step) : "";
  display_->line("training " + folder_.path().string() + from + ": " + std::to_string(task_.parameters().count()) +
                 " parameters, " + std::to_string(schedule_.steps()) + " steps");
  if (is_first_rank())
    for (const std::string& file : control_.remove_old())
      display_->line("removed " + file + ", which was there before this training began");
  if (const std::string report = task_.start_report(); !report.empty()) display_->line(report);
  if (!init.empty()) display_->line(init);
  while (progress_.step < schedule_.steps() && !stopped_early()) {
    run_step();
    const Asked asked = asked_of_any_rank();
    if (asked.stop_now) {
      display_->line("stopped at step " + std::to_string(progress_.step) +
                     " without saving, as the file stop_now asks");
      return 0;
    }
    const bool last = progress_.step == schedule_.steps();
    if (last || is_due(config_.training.log_every)) log_step();
    if (last || is_due(config_.training.eval_every)) evaluate();
    const bool stop = asked.stop || asked.stop_signal;
    if (last || stop || asked.save || stopped_early() || is_due(config_.training.save_every)) save();
    if (asked.save) display_->line("saved at step " + std::to_string(progress_.step));
    if (!stop || last) continue;
    display_->line("stopped at step " + std::to_string(progress_.step) + ": the same command goes on from there");
    return asked.stop_signal ? 130 : 0;
  }
  display_->finish();
  if (stopped_early())
    display_->line("stopped early: " + std::to_string(progress_.evaluations_without_better) +
                   " evaluations without a better " + best_metric(config_, task_).first);
  if (!last_samples_.empty()) display_->line(last_samples_);
  display_->line(progress_.has_best ? "the best model, of step " + std::to_string(progress_.best_step) + ", is in " +
                                          folder_.best().string()
                                    : "the model is in " + folder_.last().string());
  return 0;
}

// A file is taken by one rank, and signals reach the ranks at different steps.
Trainer::Asked Trainer::asked_of_any_rank() {
  std::array<float, 4> asked{};
  if (is_first_rank()) {
    asked[0] = control_.take_stop_now();
    asked[1] = control_.take_stop();
    asked[2] = control_.take_save();
  }
  asked[2] += stop_.take_save();
  asked[3] = stop_.received();
  sum_over_ranks(asked);
  return {.stop_now = asked[0] > 0, .stop = asked[1] > 0, .save = asked[2] > 0, .stop_signal = asked[3] > 0};
}

std::string Trainer::start_anew() {
  const std::filesystem::path own = std::filesystem::canonical(folder_.path());
  if (!config_.resume && !config_.init.empty()) {
    const auto init = std::filesystem::weakly_canonical(config_.init);
    if (std::mismatch(own.begin(), own.end(), init.begin(), init.end()).first == own.end())
      fail_usage("init = \"", config_.init,
                 "\" is in the folder of this run, which --resume false clears: give the run another name");
  }
  std::string text = go_on_from_init(config_, options_, optimizer_, progress_);
  if (!config_.resume) folder_.clear();
  return text;
}

bool Trainer::go_on_from_state() {
  check_same_training(folder_.state(), options_);
  check_same_data(folder_.state(), task_.fingerprint());
  progress_ = load_state(folder_.state(), optimizer_);
  task_.set_state(progress_.task);
  // Of another length, the schedule has another rate here than the one that the run has come to.
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

bool Trainer::is_due(int64_t every) const { return every > 0 && progress_.step % every == 0; }

bool Trainer::stopped_early() const {
  const int patience = config_.training.early_stopping_patience;
  return patience > 0 && progress_.evaluations_without_better >= patience;
}

void Trainer::run_step() {
  const auto start = std::chrono::steady_clock::now();
  const int64_t step = progress_.step;
  task_.prepare(machine_, step);
  task_.batch_of(step, batch_);
  const int64_t scored = batch_.scored();
  if (scored == 0) fail("step ", step + 1, ": none of the batch's ", batch_.tokens.size(), " tokens has a label");
  const ArenaScope scope(machine_.arena);
  const Tensor totals = machine_.arena.make_zeros(DType::f32, {3});
  const auto [begin, end] = sequences_of_rank(batch_);
  for (int64_t first = begin, last; first < end; first = last) {
    last = micro_batch_end(batch_, first, end, config_.training.micro_batch_size, most_tokens_);
    Pass pass{.ops = machine_.ops,
              .arena = machine_.arena,
              .compute = machine_.compute,
              .recompute = config_.training.recompute,
              .training = true,
              .seed = config_.seed,
              .step = static_cast<uint32_t>(step),
              .first_row = batch_.offsets[static_cast<size_t>(first)],
              .first_sequence = first};
    task_.run(pass, batch_, first, last, 1.0f / static_cast<float>(scored), totals);
  }
  // A device is told to update before the loss and the norm are known here: it does not where they are not finite.
  const float learning_rate = schedule_.learning_rate_at(step);
  optimizer_.sum_gradients_over_ranks();
  optimizer_.measure_and_update(learning_rate, step + 1, {totals.data, DType::f32, {1}});
  std::array<float, 3> sums{};
  machine_.arena.memory().copy_out(sums.data(), totals.data, sizeof sums);
  sum_over_ranks(sums);
  const float norm = optimizer_.gradient_norm();
  const double loss = static_cast<double>(sums[0]) / static_cast<double>(scored);
  if (!std::isfinite(loss) || !std::isfinite(norm))
    fail("step ", step + 1, ": the loss is ", loss, ", the gradient's norm ", norm, " (batch of ", batch_.sequences(),
         " sequences, ", batch_.tokens.size(), " tokens). The parameters are those before this step; try a lower ",
         "training.learning_rate, more training.warmup_steps, training.max_grad_norm = 1 or precision = \"f32\"");

  ++progress_.step;
  progress_.learning_rate = static_cast<double>(learning_rate);
  task_.step_done(step, loss);
  progress_.window_loss += static_cast<double>(sums[0]);
  progress_.window_correct += static_cast<double>(sums[2]);
  progress_.window_scored += static_cast<double>(scored);
  window_tokens_ += static_cast<double>(batch_.tokens_of(0, batch_.sequences()));
  window_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report_ = {.step = progress_.step,
             .loss = progress_.window_loss / progress_.window_scored,
             .learning_rate = static_cast<double>(learning_rate),
             .gradient_norm = static_cast<double>(norm),
             .tokens_per_second = window_tokens_ / window_seconds_};
  display_->show(report_);
}

void Trainer::log_step() {
  Metrics metrics{{"loss", report_.loss},
                  {"accuracy", progress_.window_correct / progress_.window_scored},
                  {"learning_rate", report_.learning_rate},
                  {"grad_norm", report_.gradient_norm},
                  {"tokens_per_second", report_.tokens_per_second}};
  const Metrics own = task_.log();
  metrics.insert(metrics.end(), own.begin(), own.end());
  folder_.record(progress_.step, "train", metrics);
  display_->log(report_);
  progress_.window_loss = progress_.window_correct = progress_.window_scored = 0;
  window_tokens_ = window_seconds_ = 0;
}

void Trainer::evaluate() {
  std::string samples;
  const Metrics metrics = task_.evaluate(machine_, samples);
  task_.parameters().drop_packed();  // what evaluation packed is old with the next update
  if (!samples.empty()) folder_.write_samples(progress_.step, samples);
  if (const std::string lines = task_.predictions(); !lines.empty()) folder_.write_predictions(lines);
  last_samples_ = std::move(samples);
  if (metrics.empty()) return;  // no data to evaluate on
  const auto [name, more_is_better] = best_metric(config_, task_);
  const auto chooses = [&name = name](const auto& metric) { return metric.first == name; };
  const auto found = std::find_if(metrics.begin(), metrics.end(), chooses);
  require(found != metrics.end(), "the evaluation gives no metric ", name, ", which chooses the best model, but",
          text_of(metrics));
  const double value = found->second;
  const bool better = std::isfinite(value) &&
                      (!progress_.has_best || (more_is_better ? value > progress_.best : value < progress_.best));
  folder_.record(progress_.step, "eval", metrics);
  display_->line("eval at step " + std::to_string(progress_.step) + text_of(metrics) + (better ? "  (best)" : ""));
  if (!better) {
    ++progress_.evaluations_without_better;
    return;
  }
  progress_.has_best = true;
  progress_.best = value;
  progress_.best_step = progress_.step;
  progress_.evaluations_without_better = 0;
  if (is_first_rank())
    write_folder(folder_.best(), [&](const std::filesystem::path& aside) { task_.save_model(aside); });
}

void Trainer::save() {
  progress_.task = task_.state();  // of all ranks
  if (!is_first_rank()) return;
  const auto save_model = [&](const std::filesystem::path& aside) { task_.save_model(aside); };
  if (config_.training.keep_checkpoints > 0) {
    write_folder(folder_.checkpoint(progress_.step), save_model);
    folder_.keep_checkpoints(config_.training.keep_checkpoints);
  }
  write_folder(folder_.last(), save_model);
  save_state(folder_.state(), optimizer_, progress_, options_.toml(), task_.fingerprint());
}

}  // namespace engine
