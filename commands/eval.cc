// eval: the metrics of a run folder or a model folder on one of its splits, a line each. Samples go to a file of their
// own, so that programs can read the metrics.
#include <iostream>

#include "commands/verb.h"
#include "commands/with_model.h"
#include "core/files.h"

namespace engine {

namespace {

class EvalVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder", {.required = true});
    flags.add("--split", split_, "which data: train, eval or test", {.range = one_of({"train", "eval", "test"})});
    flags.add("--samples", samples_file_, "a file for samples: right and wrong answers, or generated texts");
    flags.add_options(settings_, {}, {"data.eval"});
  }

  int run(Communicator& ranks) override {
    const auto choose = [&](Config& config) { choose_split(config, split_); };
    return with_task(settings_, folder_, Use::evaluation, ranks, choose, [&](Machine& machine, Task& task) {
      std::string samples;
      for (const auto& [name, value] : task.evaluate(machine, samples)) std::cout << name << ' ' << value << '\n';
      if (!samples_file_.empty() && machine.communicator.is_first()) write_file(samples_file_, samples);
      const std::string report = task.start_report();
      if (!report.empty() && machine.communicator.is_first()) std::cerr << report << '\n';
    });
  }

 private:
  Settings settings_;
  std::string folder_, split_ = "eval", samples_file_;
};

}  // namespace

std::unique_ptr<Verb> make_eval_verb() { return std::make_unique<EvalVerb>(); }

}  // namespace engine
