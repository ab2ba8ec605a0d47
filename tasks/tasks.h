// The table of tasks: from a task.cfg to what the trainer runs. Nowhere else is a task compared by its name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tasks/blotching/config.h"
#include "tasks/gpt/config.h"
#include "tasks/mlm/config.h"
#include "tasks/scratchpad/config.h"
#include "tasks/squad/config.h"
#include "tasks/thought/config.h"
#include "training/config.h"
#include "training/distillation.h"
#include "training/task.h"

namespace engine {

// The sections of a task.cfg that belong to some tasks alone. All are declared, so that help and the reference are
// complete. One that was set for another task is an error of make_task.
struct TaskSections {
  ScratchpadConfig scratchpad;
  BlotchingConfig blotching;
  GptConfig gpt;
  MlmConfig mlm;
  SquadConfig squad;
  ThoughtConfig thought;
  DistillationConfig distillation;

  void declare(Options& options);
};

struct TaskRequest {
  Config& config;
  const TaskSections& sections;
  const Options& options;
  Ops& ops;
  Use use;
};

// A task: its name, what it is for, and what other parts of the program must know of it.
struct TaskRow {
  const char* name;
  const char* help;
  std::vector<std::string> sections;  // that it reads beside those of all tasks
  const char* evaluates_on;           // made by itself, or null for files of [data]
  bool predicts;                      // labels inputs of its own format
  std::unique_ptr<Task> (*make)(const TaskRequest& request);
};
const std::vector<TaskRow>& task_table();
// A UsageError that lists the tasks where there is none of this name.
const TaskRow& task_row(const std::string& name);
// "gpt, mlm and cola": the names of the tasks for which `is_meant` holds, the last one behind `conjunction`.
std::string task_names(bool (*is_meant)(const TaskRow&), const std::string& conjunction);

// The task that config.task names, its model made (config.init, else [model]) and its data opened. config.model becomes
// the model as it is (its vocabulary, and all of it where it comes from init). Errors name the option that is wrong.
std::unique_ptr<Task> make_task(Config& config, const TaskSections& sections, const Options& options, Ops& ops,
                                Use use);

// Lets `eval --split train|eval|test` evaluate on data.train, data.eval or data.test. An error where there is none.
void choose_split(Config& config, const std::string& split);

}  // namespace engine
