#include "tasks/tasks.h"

#include "core/error.h"
#include "tasks/causal_task.h"
#include "tasks/classification/classification.h"
#include "tasks/gpt/gpt.h"
#include "tasks/mlm/mlm.h"
#include "tasks/scratchpad/scratchpad.h"

namespace engine {

void TaskSections::declare(Options& options) {
  scratchpad.declare(options);
  gpt.declare(options);
  mlm.declare(options);
  distillation.declare(options);
}

std::unique_ptr<Task> make_task(Config& config, const TaskSections& sections, const Options& options, Ops& ops,
                                Use use) {
  const bool is_known = config.task == "gpt" || config.task == "mlm" || config.task == "scratchpad";
  if (!is_known && !is_classification(config.task))
    fail_usage("task is \"", config.task, "\": the tasks are gpt, mlm, scratchpad, cola and sst2");
  for (const std::string section : {"gpt", "mlm", "scratchpad"}) {
    if (section == config.task) continue;
    for (const std::string& name : options.names())
      if (name.starts_with(section + ".") && is_changed(options, name))
        fail_usage(name, " is for task ", section, ": this task is ", config.task);
  }
  const bool may_distil = config.task == "mlm" || is_classification(config.task);
  for (const std::string& name : options.names()) {
    if (!name.starts_with("distillation.") || !is_changed(options, name)) continue;
    if (!may_distil) fail_usage(name, " is for tasks mlm, cola and sst2: this task is ", config.task);
    if (sections.distillation.teacher.empty()) fail_usage(name, " is set, but distillation.teacher names no model");
  }
  const bool training = use == Use::training;
  if (config.task == "scratchpad") return make_scratchpad_task(config, sections.scratchpad, options, ops, training);
  if (config.task == "mlm") return make_mlm_task(config, sections.mlm, sections.distillation, options, ops, training);
  if (is_classification(config.task))
    return make_classification_task(config, sections.distillation, options, ops, training);
  return make_gpt_task(config, sections.gpt, options, ops, training);
}

void choose_split(Config& config, const std::string& split) {
  if (split == "eval") return;
  if (split != "train" && split != "test") fail_usage("--split ", split, ": train, eval or test");
  if (config.task == "scratchpad")
    fail_usage("--split ", split, ": task scratchpad makes its own evaluation expressions: leave --split out");
  config.data.eval = split == "train" ? config.data.train : config.data.test;
  if (config.data.eval.empty()) fail_usage("--split ", split, ": data.", split, " names no file");
}

}  // namespace engine
