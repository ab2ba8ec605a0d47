// inspect: a task's data as the model sees it, and after a run the examples whose labels may be wrong.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/data_summary.h"
#include "commands/verb.h"
#include "commands/with_model.h"
#include "core/files.h"
#include "training/machine.h"

namespace engine {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t most_steps = 1000, endless_steps = 20;

// The lines of predictions with the largest loss, the largest first.
std::vector<Json> largest_losses(const std::string& lines, size_t most) {
  std::vector<Json> all;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    Json line = Json::parse(lines.substr(begin, end - begin));
    if (line.contains("loss") && line["loss"].is_number()) all.push_back(std::move(line));
    begin = end + 1;
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Json& a, const Json& b) { return a["loss"].get<double>() > b["loss"].get<double>(); });
  all.resize(std::min(all.size(), most));
  return all;
}

class InspectVerb final : public Verb {
 public:
  void add_flags(Flags& flags) override {
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
    const auto choose = [&](Config& config) { choose_split(config, split_); };
    return with_task(settings_, file_, ranks, choose, [&](Machine& machine, Task& task) {
      std::string samples;
      const Metrics metrics = task.evaluate(machine, samples);
      const std::vector<Json> lines = largest_losses(task.predictions(), most_);
      if (lines.empty())
        fail_usage("--suspects: task ", settings_.config.task,
                   " keeps no loss of each example; cola, sst2 and squad do");
      write_file(suspects_, [&](std::ostream& out) {
        for (const Json& line : lines) out << line.dump() << '\n';
      });
      for (const auto& [name, value] : metrics) std::cout << name << ' ' << value << '\n';
      std::cout << suspects_ << ": " << lines.size() << " examples, the highest loss first\n";
    });
  }

  Settings settings_;
  std::string file_, split_ = "train", suspects_;
  int64_t steps_ = 0, examples_ = 3, tokens_ = 40;
  size_t most_ = 100;
};

}  // namespace

std::unique_ptr<Verb> make_inspect_verb() { return std::make_unique<InspectVerb>(); }

}  // namespace engine
