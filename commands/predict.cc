// predict: the labels of a file's sentences, in the form of GLUE, the answers to its questions, in that of SQuAD, or
// the choices among the completions of its questions.
#include "commands/verb.h"
#include "commands/with_model.h"

namespace engine {

namespace {

class PredictVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder", {.required = true});
    flags.add("--input", input_, "a text file", {.required = true});
    flags.add("--output", output_, "where the predictions go", {.required = true});
    flags.add("--ensemble", ensemble_, "more folders of the task squad, which answer together with the first");
    flags.add_options(settings_);
  }

  int run(Communicator& ranks) override {
    const auto leave_out_data = [](Config& config) {
      if (!task_row(config.task).predicts)
        fail_usage("predict is for tasks that label their inputs, ",
                   task_names([](const TaskRow& row) { return row.predicts; }, "and"), ": this one is ", config.task,
                   "; a model that writes text is used with generate");
      config.data.eval.clear();  // only the input is read
    };
    return with_task(settings_, folder_, Use::prediction, ranks, leave_out_data, [&](Machine& machine, Task& task) {
      for (const std::string& folder : ensemble_) join(folder, machine, task);
      task.predict(machine, input_, output_);
    });
  }

 private:
  // Lets the task answer together with the one of another folder, which has the options that it was trained with, but
  // runs on the first one's machine.
  void join(const std::string& folder, Machine& machine, Task& task) {
    Settings& settings = *others_.emplace_back(std::make_unique<Settings>());
    take_run(settings, folder);
    settings.config.task = settings_.config.task;
    settings.config.device = settings_.config.device;
    settings.config.precision = settings_.config.precision;
    settings.config.data = {};
    task.join(make_task(settings.config, settings.sections, settings.options, machine.ops, Use::prediction));
  }

  std::vector<std::unique_ptr<Settings>> others_;  // outlive the task that is given to with_task's
  Settings settings_;
  std::string folder_, input_, output_;
  std::vector<std::string> ensemble_;
};

}  // namespace

std::unique_ptr<Verb> make_predict_verb() { return std::make_unique<PredictVerb>(); }

}  // namespace engine
