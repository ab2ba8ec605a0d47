// The trainer's writing: lines of the log, evaluations, the best model, the state and the last model.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "core/process_memory.h"
#include "core/version.h"
#include "training/best_metric.h"
#include "training/trainer.h"

namespace engine {

namespace {

std::string text_of(const Metrics& metrics) {
  std::ostringstream text;
  for (const auto& [name, value] : metrics) text << "  " << name << ' ' << value;
  return text.str();
}

const char* text_of(TrainingResult::Reason reason) {
  using Reason = TrainingResult::Reason;
  switch (reason) {
    case Reason::finished:
    case Reason::was_finished: return "finished";
    case Reason::stopped_early: return "stopped early";
    case Reason::out_of_time: return "out of time";
    case Reason::stopped:
    case Reason::stopped_now: return "stopped";
    case Reason::interrupted: return "interrupted";
  }
  fail("no reason for the end of a training");
}

}  // namespace

void write_result(const TrainingResult& result) {
  nlohmann::ordered_json json;
  json["version"] = version;
  json["reason"] = text_of(result.reason);
  json["step"] = result.step;
  json["best_metric"] = result.best_metric;
  json["more_is_better"] = result.more_is_better;
  if (result.has_best) {
    json["best"] = result.best;
    json["best_step"] = result.best_step;
  }
  json["memory_mib"] = peak_memory() >> 20;
  for (const auto& [name, value] : result.metrics) json["metrics"][name] = value;
  write_file(RunFolder(result.folder).result(), json.dump(2) + "\n");
}

bool has_result(const TrainingResult& result) {
  const std::filesystem::path file = RunFolder(result.folder).result();
  if (!std::filesystem::exists(file)) return false;
  const nlohmann::json json = nlohmann::json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.contains("step") && json["step"] == result.step;
}

void Trainer::do_due(bool last, bool saves) {
  if (last || due_.logs(progress_.step)) log_step();
  const bool evaluates = last || due_.evaluates(progress_.step);
  if (evaluates) evaluate();
  saves = saves || last || stopped_early() || due_.saves(progress_.step);
  if (saves) save();
  if (!evaluates && !saves) return;
  // The first rank writes. The others wait for it here, since an exchange between devices has a time limit.
  std::array<double, 1> nothing{};
  machine_.communicator.sum(nothing);
}

void Trainer::log_step() {
  Metrics metrics{{"learning_rate", report_.learning_rate},
                  {"grad_norm", report_.gradient_norm},
                  {"tokens_per_second", report_.tokens_per_second},
                  {"tokens", static_cast<double>(progress_.tokens)},
                  {"seconds", progress_.seconds},
                  {"memory_mib", std::round(static_cast<double>(peak_memory()) / (1 << 20))}};
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
  tokens_before_window_ = progress_.tokens;
  seconds_before_window_ = progress_.seconds;
}

void Trainer::evaluate() {
  std::string samples;
  averaging_.swap();
  last_metrics_ = task_.evaluate(machine_, samples);
  if (!samples.empty()) folder_.write_samples(progress_.step, samples);
  if (const std::string lines = task_.predictions(); !lines.empty()) folder_.write_predictions(lines);
  last_samples_ = std::move(samples);
  // The metrics are empty without data to evaluate on.
  if (!last_metrics_.empty()) save_best();
  averaging_.swap();
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
  if (!better) {
    ++progress_.evaluations_without_better;
    return;
  }
  progress_.has_best = true;
  progress_.best = value;
  progress_.best_step = progress_.step;
  progress_.evaluations_without_better = 0;
  show_best();
  if (is_first())
    write_folder(folder_.best(), [&](const std::filesystem::path& aside) { task_.save_model(aside); });
}

void Trainer::show_best() {
  if (!progress_.has_best) return;
  std::ostringstream text;
  text << best_metric(config_, task_).first << ' ' << progress_.best << " at step " << progress_.best_step;
  display_->set_best(text.str());
}

void Trainer::save_models() {
  const auto save_model = [&](const std::filesystem::path& aside) { task_.save_model(aside); };
  if (config_.training.keep_checkpoints > 0) {
    write_folder(folder_.checkpoint(progress_.step), save_model);
    folder_.keep_checkpoints(config_.training.keep_checkpoints);
  }
  write_folder(folder_.last(), save_model);
}

void Trainer::save() {
  progress_.averaged = averaging_.count();
  progress_.observed = schedule_.observed();
  progress_.run_seconds = run_seconds();
  progress_.log_lines = folder_.log_lines();
  averaging_.swap();
  if (is_first()) save_models();
  averaging_.swap();
  // Every rank takes part in saving the state, and the first one writes.
  if (!is_first()) {
    send_shards(state_tensors());
    return task_.save_state(machine_, StateFolder(folder_.state()).task());
  }
  save_state(folder_.state(), state_tensors(), progress_, options_.toml(), task_.fingerprint(),
             [&](const std::filesystem::path& aside) { task_.save_state(machine_, aside); });
}

}  // namespace engine
