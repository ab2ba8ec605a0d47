#include "tasks/tasks.h"

#include "core/error.h"
#include "models/bart.h"
#include "tasks/causal_task.h"
#include "tasks/classification/classification.h"
#include "tasks/gpt/gpt.h"
#include "tasks/mlm/mlm.h"
#include "tasks/scratchpad/scratchpad.h"

namespace engine {

namespace {

// An option, or all of a section ("mlm."), that is read only in some configurations.
struct Condition {
  std::string options;
  bool holds;
  std::string text;
};

std::vector<Condition> conditions(const Config& config, const TaskSections& sections) {
  const std::string& task = config.task;
  const bool encodes = task == "mlm" || is_classification(task), is_new = config.init.empty();
  const std::string& explanation = sections.scratchpad.explanation;
  const bool writes_itself = explanation == "self_learned";
  const ModelConfig& model = config.model;
  std::vector<Condition> all{
      {"gpt.", task == "gpt", "task = \"gpt\""},
      {"mlm.", task == "mlm", "task = \"mlm\""},
      {"mlm.copies", sections.mlm.masking == "static", "mlm.masking = \"static\""},
      {"scratchpad.", task == "scratchpad", "task = \"scratchpad\""},
      {"scratchpad.batching", writes_itself, "scratchpad.explanation = \"self_learned\""},
      {"scratchpad.clean_results", writes_itself, "scratchpad.explanation = \"self_learned\""},
      {"scratchpad.form", explanation != "none", "scratchpad.explanation = \"oracle\" or \"self_learned\""},
      {"data.", task != "scratchpad", "a task that reads files: scratchpad makes its data and brings its tokenizer"},
      {"generation.", !encodes, "a task whose model writes text, gpt or scratchpad"},
      {"distillation.", encodes, "one of the tasks mlm, cola and sst2"},
      {"distillation.", !sections.distillation.teacher.empty(), "a model in distillation.teacher"},
      {"training.initial_learning_rate", config.training.warmup_steps > 0, "training.warmup_steps above 0"},
      {"training.min_learning_rate", config.training.scheduler != "constant", "a training.scheduler that falls"},
      // For a model from init check_against_init says more.
      {"model.relative_distances", !is_new || model.own.get<BartOptions>().has_relative_tables(),
       "model.relative_positions = \"shared\" or \"separate\""},
  };
  for (const OwnOptions::Entry& entry : model.own.all()) {
    Options own;
    const std::unique_ptr<ArchitectureOptions> declared = entry.options->clone();
    declared->declare(own);
    for (const std::string& name : own.names())
      all.push_back({name, !is_new || model.architecture == entry.architecture,
                     std::string("model.architecture = \"") + entry.architecture + "\""});
  }
  return all;
}

// What was set and would not be read is a UsageError: whoever set it thinks that it does something.
void refuse_unread(const Config& config, const TaskSections& sections, const Options& options) {
  for (const Condition& condition : conditions(config, sections)) {
    if (condition.holds) continue;
    const bool is_section = condition.options.ends_with('.');
    for (const Options::Option& option : options.all()) {
      const bool is_meant =
          is_section ? option.name.starts_with(condition.options) : option.name == condition.options;
      if (is_meant && option.is_changed())
        fail_usage(option.said, ": nothing reads it here, it needs ", condition.text);
    }
  }
}

}  // namespace

void TaskSections::declare(Options& options) {
  scratchpad.declare(options);
  gpt.declare(options);
  mlm.declare(options);
  distillation.declare(options);
}

std::unique_ptr<Task> make_task(Config& config, const TaskSections& sections, const Options& options, Ops& ops,
                                Use use) {
  const bool is_known = config.task == "gpt" || config.task == "mlm" || config.task == "scratchpad";
  if (config.task.empty())
    fail_usage("task is missing, in the configuration or as --task: gpt, mlm, scratchpad, cola or sst2");
  if (!is_known && !is_classification(config.task))
    fail_usage("task is \"", config.task, "\": the tasks are gpt, mlm, scratchpad, cola and sst2");
  refuse_unread(config, sections, options);
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
