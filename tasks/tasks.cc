#include "tasks/tasks.h"

#include <algorithm>

#include "core/error.h"
#include "core/listing.h"
#include "models/bart.h"
#include "tasks/blotching/blotching.h"
#include "tasks/causal_task.h"
#include "tasks/classification/classification.h"
#include "tasks/gpt/gpt.h"
#include "tasks/mlm/mlm.h"
#include "tasks/scratchpad/scratchpad.h"
#include "tasks/squad/squad.h"
#include "tasks/thought/thought.h"

namespace engine {

namespace {

using Request = TaskRequest;

std::unique_ptr<Task> make_gpt(const Request& r) {
  return make_gpt_task(r.config, r.sections.gpt, r.options, r.ops, r.use);
}
std::unique_ptr<Task> make_mlm(const Request& r) {
  return make_mlm_task(r.config, r.sections.mlm, r.sections.distillation, r.options, r.ops, r.use);
}
std::unique_ptr<Task> make_scratchpad(const Request& r) {
  return make_scratchpad_task(r.config, r.sections.scratchpad, r.options, r.ops, r.use);
}
std::unique_ptr<Task> make_blotching(const Request& r) {
  return make_blotching_task(r.config, r.sections.blotching, r.options, r.ops, r.use);
}
std::unique_ptr<Task> make_cola(const Request& r) {
  return make_classification_task(cola_kind(), r.config, r.sections.distillation, r.options, r.ops, r.use);
}
std::unique_ptr<Task> make_sst2(const Request& r) {
  return make_classification_task(sst2_kind(), r.config, r.sections.distillation, r.options, r.ops, r.use);
}
std::unique_ptr<Task> make_squad(const Request& r) {
  return make_squad_task(r.config, r.sections.squad, r.sections.distillation, r.options, r.ops, r.use);
}
std::unique_ptr<Task> make_thought(const Request& r) {
  return make_thought_task(r.config, r.sections.thought, r.options, r.ops, r.use);
}

const std::vector<TaskRow> rows{
    {"gpt", "a decoder learns to continue text", {"gpt", "data", "generation"}, nullptr, false, make_gpt},
    {"mlm", "an encoder learns to predict masked tokens", {"mlm", "data", "distillation"}, nullptr, false, make_mlm},
    {"scratchpad", "a decoder or an encoder-decoder learns arithmetic, its steps written out",
     {"scratchpad", "generation"}, "evaluation expressions", false, make_scratchpad},
    {"blotching", "a decoder learns arithmetic from solutions that lack some steps", {"blotching"},
     "validation problems", false, make_blotching},
    {"cola", "an encoder says whether a sentence is acceptable", {"data", "distillation"}, nullptr, true, make_cola},
    {"sst2", "an encoder says whether a sentence is positive", {"data", "distillation"}, nullptr, true, make_sst2},
    {"squad", "an encoder answers questions about a text", {"squad", "data", "distillation"}, nullptr, true,
     make_squad},
    {"thought", "a decoder learns text or chains of steps with thought tokens",
     {"thought", "data", "generation"}, nullptr, true, make_thought},
};

// The tasks that read a section are described by what they have in common, where that says more than their names.
const std::vector<std::pair<std::string, std::string>> section_texts{
    {"data", "a task that reads files"}, {"generation", "a task whose model writes text"}};

bool reads(const TaskRow& row, const std::string& section) {
  return std::find(row.sections.begin(), row.sections.end(), section) != row.sections.end();
}

std::string all_tasks(const std::string& conjunction) {
  return task_names([](const TaskRow&) { return true; }, conjunction);
}

// A section that other tasks read and this one does not.
void refuse_other_sections(const TaskRow& task, const Options& options) {
  for (const Option& option : options.all()) {
    const std::string section = option.section();
    if (!option.is_changed() || reads(task, section)) continue;
    std::vector<std::string> readers;
    for (const TaskRow& row : rows)
      if (reads(row, section)) readers.push_back(row.name);
    if (readers.empty()) continue;
    std::string needed = readers.size() == 1 ? "task = \"" + readers[0] + "\""
                                             : "one of the tasks " + listed(readers, " and ");
    for (const auto& [name, text] : section_texts)
      if (name == section) needed = text + ", " + listed(readers, " or ");
    fail_usage(option.said, ": nothing reads it here, it needs ", needed);
  }
}

}  // namespace

const std::vector<TaskRow>& task_table() { return rows; }

const TaskRow& task_row(const std::string& name) {
  if (name.empty()) fail_usage("task is missing, in the configuration or as --task: ", all_tasks("or"));
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const TaskRow& row) { return row.name == name; });
  if (found == rows.end()) fail_usage("task is \"", name, "\": the tasks are ", all_tasks("and"));
  return *found;
}

std::string task_names(bool (*is_meant)(const TaskRow&), const std::string& conjunction) {
  std::vector<std::string> names;
  for (const TaskRow& row : rows)
    if (is_meant(row)) names.push_back(row.name);
  return listed(names, " " + conjunction + " ");
}

void TaskSections::declare(Options& options) {
  scratchpad.declare(options);
  blotching.declare(options);
  gpt.declare(options);
  mlm.declare(options);
  squad.declare(options);
  thought.declare(options);
  distillation.declare(options);
}

std::unique_ptr<Task> make_task(Config& config, const TaskSections& sections, const Options& options, Ops& ops,
                                Use use) {
  const TaskRow& task = task_row(config.task);
  refuse_other_sections(task, options);
  options.refuse_unread();
  return task.make({config, sections, options, ops, use});
}

void choose_split(Config& config, const std::string& split) {
  if (split == "eval") return;
  if (split != "train" && split != "test") fail_usage("--split ", split, ": train, eval or test");
  if (const char* const own = task_row(config.task).evaluates_on)
    fail_usage("--split ", split, ": task ", config.task, " makes its own ", own, ": leave --split out");
  config.data.eval = split == "train" ? config.data.train : config.data.test;
  if (config.data.eval.empty()) fail_usage("--split ", split, ": data.", split, " names no file");
}

}  // namespace engine
