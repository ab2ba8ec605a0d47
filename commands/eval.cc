// eval: the metrics of a run folder or a model folder on one of its splits.
#include <iostream>

#include "commands/verb.h"
#include "commands/with_model.h"

namespace engine {

namespace {

class EvalVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("DIR", folder_, "a run folder or a model folder", {.required = true});
    flags.add("--split", split_, "which data", {.range = one_of({"train", "eval", "test"})});
    flags.add_options(settings_);
  }

  int run(Communicator& ranks) override {
    const auto choose = [&](Config& config) { choose_split(config, split_); };
    return with_task(settings_, folder_, ranks, choose, [&](Machine& machine, Task& task) {
      std::string samples;
      for (const auto& [name, value] : task.evaluate(machine, samples)) std::cout << name << ' ' << value << '\n';
      std::cout << samples;
      const std::string report = task.start_report();
      if (!report.empty() && machine.communicator.is_first()) std::cerr << report << '\n';
    });
  }

 private:
  Settings settings_;
  std::string folder_, split_ = "eval";
};

}  // namespace

std::unique_ptr<Verb> make_eval_verb() { return std::make_unique<EvalVerb>(); }

}  // namespace engine
