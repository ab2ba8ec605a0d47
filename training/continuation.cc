#include "training/continuation.h"

#include <algorithm>

#include "core/error.h"
#include "training/run_folder.h"

namespace engine {

namespace {

std::string listed(const std::string& what, const std::vector<std::string>& names) {
  constexpr size_t most = 6;
  if (names.empty()) return "";
  std::string text = "; " + what + " ";
  for (size_t i = 0; i < std::min(names.size(), most); ++i) text += (i ? ", " : "") + names[i];
  return names.size() > most ? text + " and " + std::to_string(names.size() - most) + " more" : text;
}

}  // namespace

std::string go_on_from_init(const Config& config, const Options& options, Optimizer& optimizer,
                            TrainingProgress& progress) {
  const TrainingConfig& training = config.training;
  if (config.init.empty()) return "";
  const std::filesystem::path state = RunFolder(config.init).state();
  const bool is_run = has_state(state);
  if (is_run) static_cast<void>(read_progress(state));  // refuses a torn state
  const bool same_task = is_run && option_of_state(state, "task") == options.find("task")->text();
  if (training.resume_warmup_steps > 0 && (!same_task || training.new_head))
    fail_usage("training.resume_warmup_steps is ", training.resume_warmup_steps, ", but init = \"", config.init,
               "\" is ",
               !is_run ? "no run's folder with a state"
                       : same_task ? "taken with training.new_head" : "a run of another task",
               ": leave it out, or set training.initial_learning_rate and warmup_steps");
  const std::string beginning = "init " + config.init + ": ";
  if (!is_run) return beginning + "weights";
  if (!same_task) return beginning + "weights of a run of task " + option_of_state(state, "task") + ", no state";
  if (training.new_head) return beginning + "weights without the head, no state";

  if (!training.load_optimizer) {
    const TrainingProgress before = read_progress(state);
    progress.learning_rate_before = before.learning_rate;
    return beginning + "weights of the best model, moments of zero";
  }
  FittingState found = load_fitting_state(state, {optimizer.parameters(), optimizer.state()});
  const TrainingProgress& before = found.progress;
  if (found.loaded > 0) {
    progress.steps_before = before.step + before.steps_before;
    progress.fresh = found.fresh;
    optimizer.set_steps_before(progress.steps_before, progress.fresh);
  }
  progress.learning_rate_before = before.learning_rate;
  std::string text = beginning + "values and moments of step " + std::to_string(before.step);
  if (before.has_best && before.best_step != before.step)
    text += " (training.load_optimizer = false takes the best model, of step " + std::to_string(before.best_step) + ")";
  return text + listed("new", found.fresh) + listed("left out", found.left_out);
}

}  // namespace engine
