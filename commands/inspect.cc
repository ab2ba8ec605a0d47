// inspect: a task's data as the model sees it, and after a run the examples whose labels may be wrong.
#include <algorithm>
#include <iostream>

#include "commands/data_summary.h"
#include "commands/verb.h"
#include "commands/with_model.h"
#include "core/files.h"
#include "training/machine.h"

namespace engine {

namespace {

constexpr int64_t most_steps = 1000, endless_steps = 20;

class InspectVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
    flags_ = &flags;
    flags.add("task.cfg", file_, "the task's configuration, or with --suspects a run folder", {.required = true});
    flags.add("--split", split_, "which data: train, eval or test", {.range = one_of({"train", "eval", "test"})});
    flags.add("--steps", steps_, "batches that are looked at; 0: an epoch's, at most 1000, and 20 of data without end",
              {.range = at_least(0)});
    flags.add("--examples", examples_, "examples that are shown", {.range = at_least(0)});
    flags.add("--tokens", tokens_, "tokens that are shown of each example", {.range = at_least(1)});
    flags.add("--suspects", suspects_, "a file for the examples with the highest loss, as JSON lines");
    flags.add("--most", most_, "how many of these", {.range = at_least(1), .needs = "--suspects"});
    flags.add_options(settings_, {}, {"data.train", "data.eval", "training.batch_size"});
  }

  int run(Communicator& ranks) override {
    if (ranks.size() > 1) fail_usage("inspect is the work of one process: run it without mpirun");
    return suspects_.empty() ? show_data(ranks) : find_suspects(ranks);
  }

 private:
  int show_data(Communicator& ranks) {
    if (std::filesystem::is_directory(file_))
      fail_usage(file_, " is a folder: inspect takes a task.cfg, and a run folder with --suspects FILE");
    settings_.resolve(file_);
    choose_training_data();
    ConfiguredMachine backend(settings_.config, ranks);
    const auto task =
        make_task(settings_.config, settings_.sections, settings_.options, backend.ops(), Use::training);
    if (const std::string report = task->start_report(); !report.empty()) std::cout << report << '\n';
    const int64_t epoch = task->steps_per_epoch();
    const int64_t steps = steps_ ? steps_ : epoch ? std::min(epoch, most_steps) : endless_steps;
    DataSummary summary;
    SequenceBatch batch, first;
    for (int64_t step = 0; step < steps; ++step) {
      task->prepare(backend.machine(), step);
      task->batch_of(step, batch);
      summary.add(batch);
      if (step == 0) first = batch;
    }
    std::cout << "batches: " << steps;
    if (epoch) std::cout << " of the " << epoch << " of an epoch";
    std::cout << '\n';
    const Reading reading = task->reading();
    summary.print(reading, std::cout);
    for (int64_t i = 0; i < std::min(examples_, first.sequences()); ++i) {
      std::cout << "\nexample " << i + 1 << " of the first batch:\n";
      print_sequence(first, i, reading, tokens_, std::cout);
    }
    return 0;
  }

  void choose_training_data() {
    if (split_ == "train") return;
    Config& config = settings_.config;
    const std::vector<std::string> train = config.data.train;
    choose_split(config, split_);
    if (config.data.eval.empty()) fail_usage("--split ", split_, ": data.", split_, " names no file");
    config.data.train = config.data.eval;
  }

  int find_suspects(Communicator& ranks) {
    // Tasks that make their own data evaluate on that.
    const auto choose = [&](Config& config) {
      if (flags_->given("--split") || !config.data.train.empty()) choose_split(config, split_);
    };
    return with_task(settings_, file_, Use::evaluation, ranks, choose, [&](Machine& machine, Task& task) {
      Suspects suspects(most_);
      task.look_for(suspects);
      std::string samples;
      const Metrics metrics = task.evaluate(machine, samples);
      const std::vector<std::string> lines = suspects.lines();
      if (lines.empty())
        fail_usage("--suspects: the evaluation of task ", settings_.config.task, " gives no example a loss: there is ",
                   "no data to evaluate on, or none with a label that counts");
      write_file(suspects_, [&](std::ostream& out) {
        for (const std::string& line : lines) out << line << '\n';
      });
      for (const auto& [name, value] : metrics) std::cout << name << ' ' << value << '\n';
      std::cout << suspects_ << ": " << lines.size() << " examples, the highest loss first\n";
    });
  }

  Settings settings_;
  const Flags* flags_ = nullptr;
  std::string file_, split_ = "train", suspects_;
  int64_t steps_ = 0, examples_ = 3, tokens_ = 40;
  size_t most_ = 100;
};

}  // namespace

std::unique_ptr<Verb> make_inspect_verb() { return std::make_unique<InspectVerb>(); }

}  // namespace engine
