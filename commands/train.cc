// train: trains what a task.cfg says.
#include "commands/settings.h"
#include "commands/verb.h"
#include "training/machine.h"
#include "training/run_folder.h"
#include "training/shards.h"
#include "training/trainer.h"

namespace engine {

namespace {

class TrainVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags.add("task.cfg", file_, "the task's configuration", {.required = true});
    flags.add_options(settings_, {}, {"data.train", "data.eval", "training.batch_size", "training.learning_rate",
                                      "training.max_steps", "training.epochs"});
  }

  int run(Communicator& ranks) override {
    settings_.resolve(file_);
    static_cast<void>(RunFolder::of(settings_.config));  // a wrong name is told before any data is read
    require_same_on_all_ranks(ranks, "configuration", settings_.options.toml());
    check_reduction_shards(settings_.config.training, ranks);
    ConfiguredMachine backend(settings_.config, ranks);
    const auto task =
        make_task(settings_.config, settings_.sections, settings_.options, backend.ops(), Use::training);
    require_same_on_all_ranks(ranks, "data", task->fingerprint());
    return train_task(settings_.config, settings_.options, *task, backend.machine()).exit_code();
  }

 private:
  Settings settings_;
  std::string file_;
};

}  // namespace

std::unique_ptr<Verb> make_train_verb() { return std::make_unique<TrainVerb>(); }

}  // namespace engine
