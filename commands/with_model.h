// The model or task in a folder that a verb is given, on the machine that its options choose.
#pragma once

#include <functional>

#include "commands/settings.h"
#include "tasks/language_model.h"

namespace engine {

// work(machine, decoder with its tokenizer) for a run or a model folder. Returns the exit code 0.
int with_language_model(Settings& settings, const std::string& folder, Communicator& ranks,
                        const std::function<void(Machine&, LanguageModel&)>& work);

// Reads the options of a folder's run, if it is one, and makes its model the one in init.
void take_run(Settings& settings, const std::string& folder);

// work(machine, task) for a run folder whose task is evaluated or predicts. `adjust` has the last word on the
// configuration.
int with_task(Settings& settings, const std::string& folder, Use use, Communicator& ranks,
              const std::function<void(Config&)>& adjust, const std::function<void(Machine&, Task&)>& work);

// The options of a task.cfg that a verb reads which computes without a task.
extern const std::vector<std::string> machine_options;

}  // namespace engine
