#include "tasks/verbs.h"

#include <iostream>

#include "core/error.h"
#include "core/ranks.h"
#include "tasks/classification/classification.h"
#include "tasks/scratchpad/expression_file.h"
#include "training/machine.h"
#include "training/trainer.h"

namespace engine {

namespace {

// generate and score: a decoder with its tokenizer, from a run or a model folder.
template <class Work>
int with_language_model(Settings& settings, const Arguments& arguments, const Work& work) {
  const RunFolder run = open_run(arguments.folder);
  settings.resolve(run.config);
  ConfiguredMachine backend(settings.config);
  LanguageModel language = load_language_model(run.model, backend.ops().memory());
  work(backend.machine(), language);
  return 0;
}

// The task of a run folder, to be evaluated; `adjust` has the last word on the configuration.
template <class Work>
int with_task(Settings& settings, const Arguments& arguments, const std::function<void(Config&)>& adjust,
              const Work& work) {
  const RunFolder run = open_run(arguments.folder);
  settings.resolve(run.config);
  settings.config.init = run.model.string();
  adjust(settings.config);
  ConfiguredMachine backend(settings.config);
  const auto task = make_task(settings.config, settings.sections, settings.options, backend.ops(), Use::evaluation);
  work(backend.machine(), *task);
  return 0;
}

}  // namespace

int train(Settings& settings, const Arguments& arguments) {
  settings.resolve(arguments.file);
  ConfiguredMachine backend(settings.config);
  const auto task = make_task(settings.config, settings.sections, settings.options, backend.ops(), Use::training);
  return train_task(settings.config, settings.options, *task, backend.machine());
}

int evaluate(Settings& settings, const Arguments& arguments) {
  const auto choose = [&](Config& config) { choose_split(config, arguments.split); };
  return with_task(settings, arguments, choose, [&](Machine& machine, Task& task) {
    std::string samples;
    for (const auto& [name, value] : task.evaluate(machine, samples)) std::cout << name << ' ' << value << '\n';
    std::cout << samples;
    const std::string report = task.start_report();
    if (!report.empty() && is_first_rank()) std::cerr << report << '\n';
  });
}

int predict(Settings& settings, const Arguments& arguments) {
  const auto leave_out_data = [](Config& config) {
    if (!is_classification(config.task))
      fail_usage("predict is for tasks that label their inputs, cola and sst2: this one is ", config.task,
                 "; a model that writes text is used with generate");
    config.data.eval.clear();  // only the input is read
  };
  return with_task(settings, arguments, leave_out_data, [&](Machine& machine, Task& task) {
    task.predict(machine, arguments.input, arguments.output);
  });
}

int generate(Settings& settings, const Arguments& arguments) {
  return with_language_model(settings, arguments, [&](Machine& machine, LanguageModel& language) {
    const Config& config = settings.config;
    generate_text(machine, language, {arguments.prompt, arguments.input, config.generation, config.seed}, std::cout);
  });
}

int score(Settings& settings, const Arguments& arguments) {
  return with_language_model(settings, arguments, [&](Machine& machine, LanguageModel& language) {
    score_lines(machine, language, arguments.input, std::cout);
  });
}

int embed(Settings& settings, const Arguments& arguments) {
  settings.resolve({});
  ConfiguredMachine backend(settings.config);
  SentenceEncoder encoder(arguments.folder, backend.machine());
  const size_t cut = embed_lines(encoder, arguments.input, std::cout);
  if (cut) std::cerr << arguments.input << ": " << cut << " lines are cut to " << encoder.max_length() << " tokens\n";
  return 0;
}

int tokenize(const Arguments& arguments) {
  if (arguments.vocabulary.kind.empty() == arguments.folder.empty())
    fail_usage(
        "tokenize takes a folder with a tokenizer before --input, or makes one with --train KIND --output FOLDER");
  if (!arguments.folder.empty()) {
    const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(arguments.folder);
    for (const std::string& file : arguments.vocabulary.inputs)
      tokenize_lines(*tokenizer, file, arguments.tokenizing, std::cout);
    return 0;
  }
  if (arguments.vocabulary.folder.empty()) fail_usage("--train needs --output FOLDER, where the new tokenizer goes");
  train_vocabulary(arguments.vocabulary, std::cout);
  return 0;
}

int make_expressions(Settings& settings, const Arguments& arguments) {
  settings.resolve("");
  ExpressionFile::write(arguments.file, settings.sections.scratchpad, arguments.quantity, settings.config.seed);
  return 0;
}

}  // namespace engine
