// The list of tasks: from a task.cfg to what the trainer runs.
#pragma once

#include <memory>
#include <string>

#include "tasks/gpt/config.h"
#include "tasks/mlm/config.h"
#include "tasks/scratchpad/config.h"
#include "training/config.h"
#include "training/distillation.h"
#include "training/task.h"

namespace engine {

// The sections of a task.cfg that belong to one task alone. All are declared, so that `--help` and the reference are
// complete; one that was set for another task is an error of make_task.
struct TaskSections {
  ScratchpadConfig scratchpad;
  GptConfig gpt;
  MlmConfig mlm;
  DistillationConfig distillation;

  void declare(Options& options);
};

// training: with gradients and training data. evaluation: neither; config.init is the model.
enum class Use { training, evaluation };

// The task that config.task names, its model made (config.init, else [model]) and its data opened. config.model becomes
// the model as it is (vocabulary, and all of it where it comes from init). Errors name the option that is wrong.
std::unique_ptr<Task> make_task(Config& config, const TaskSections& sections, const Options& options, Ops& ops,
                                Use use);

// Lets `eval --split train|eval|test` evaluate on data.train, data.eval or data.test; an error where there is none.
void choose_split(Config& config, const std::string& split);

}  // namespace engine
