#include "commands/with_model.h"

#include <iostream>

#include "training/machine.h"

namespace engine {

const std::vector<std::string> machine_options{"device", "precision", "threads", "cuda."};

int with_language_model(Settings& settings, const std::string& folder, Communicator& ranks,
                        const std::function<void(Machine&, LanguageModel&)>& work) {
  const OpenedRun run = open_run(folder);
  settings.resolve(run.config);
  ConfiguredMachine backend(settings.config, ranks);
  LanguageModel language = load_language_model(run.model, backend.ops().memory(), backend.machine().compute);
  if (!language.report.empty() && ranks.is_first()) std::cerr << language.report << '\n';
  work(backend.machine(), language);
  return 0;
}

void take_run(Settings& settings, const std::string& folder) {
  const OpenedRun run = open_run(folder);
  settings.resolve(run.config);
  settings.config.init = run.model.string();
  // The model's folder has the tokenizer that it was trained with, wherever that came from.
  if (!settings.has_flag("data.tokenizer")) settings.config.data.tokenizer.clear();
}

int with_task(Settings& settings, const std::string& folder, Use use, Communicator& ranks,
              const std::function<void(Config&)>& adjust, const std::function<void(Machine&, Task&)>& work) {
  take_run(settings, folder);
  adjust(settings.config);
  ConfiguredMachine backend(settings.config, ranks);
  const auto task = make_task(settings.config, settings.sections, settings.options, backend.ops(), use);
  work(backend.machine(), *task);
  return 0;
}

}  // namespace engine
