// Steps after which a training evaluates and saves, by steps and by parts of epochs.
#include "training/due_steps.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/letters.h"
#include "tests/operation.h"
#include "tests/task_settings.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_due_steps {

namespace {

std::vector<int64_t> evaluated_steps(const Config& config) {
  std::vector<int64_t> steps;
  std::istringstream log(read_text(std::filesystem::path(config.output_dir) / config.name / "metrics.jsonl"));
  for (std::string line; std::getline(log, line);) {
    const nlohmann::json event = nlohmann::json::parse(line);
    if (event.at("split") == "eval") steps.push_back(event.at("step").get<int64_t>());
  }
  return steps;
}

}  // namespace

TEST_CASE("due steps: part i of n of an epoch is done at the step ceil(i T / n), in every epoch") {
  const TemporaryFolder folder;
  OwnMachine own(DType::f32, size_t{1} << 30);
  Config config = tiny_config(folder.path(), "run");
  TinyTask task(config, *own.ops);
  for (const int64_t steps : {1, 3, 7, 10, 100})
    for (int64_t parts = 1; parts <= steps; ++parts) {
      CAPTURE(steps);
      CAPTURE(parts);
      task.epoch_steps = steps;
      config.training.evals_per_epoch = parts;
      const DueSteps due(config.training, task);
      std::vector<int64_t> expected, found;
      for (int64_t epoch = 0; epoch < 3; ++epoch)
        for (int64_t i = 1; i <= parts; ++i) {
          int64_t at = 0;  // the least whole number that is not below i steps / parts
          while (at * parts < i * steps) ++at;
          expected.push_back(epoch * steps + at);
        }
      for (int64_t step = 0; step <= 3 * steps; ++step)
        if (due.evaluates(step)) found.push_back(step);
      CHECK(found == expected);
      CHECK_FALSE(due.saves(steps));  // save_every is 0
    }
  config.training.evals_per_epoch = 0;
  config.training.eval_every = 4;
  const DueSteps by_steps(config.training, task);
  CHECK(by_steps.evaluates(8));
  CHECK_FALSE(by_steps.evaluates(9));
}

TEST_CASE("due steps: a training evaluates and saves by parts of its epochs, and patience counts these") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  config.training.max_steps = 23;
  config.training.evals_per_epoch = 4;
  config.training.saves_per_epoch = 3;
  config.training.keep_checkpoints = 10;
  const auto ten_steps = [](TinyTask& task) { task.epoch_steps = 10; };
  train_tiny(config, ten_steps);
  CHECK(evaluated_steps(config) == std::vector<int64_t>{3, 5, 8, 10, 13, 15, 18, 20, 23});
  for (int64_t step = 1; step <= 23; ++step) {
    const bool is_saved = step == 4 || step == 7 || step == 10 || step == 14 || step == 17 || step == 20 || step == 23;
    CHECK(std::filesystem::exists(folder.path() / "run" / ("checkpoint-" + std::to_string(step))) == is_saved);
  }
  config.name = "patient";
  config.training.early_stopping_patience = 2;
  const Outcome patient = train_tiny(config, [&](TinyTask& task) {
    ten_steps(task);
    task.measure = [] { return Metrics{{"loss", 1.0}}; };
  });
  CHECK(patient.result.step == 8);
  CHECK(patient.result.best_step == 3);
}

TEST_CASE("due steps: data without epochs, and more parts than an epoch has steps, are refused by name") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.path(), "run");
  config.training.evals_per_epoch = 4;
  CHECK_THROWS_WITH_AS(train_tiny(config), doctest::Contains("training.evals_per_epoch is 4, but this data is made "
                       "without end and has no epochs: set training.eval_every"), UsageError);
  config.training.evals_per_epoch = 0;
  config.training.saves_per_epoch = 4;
  CHECK_THROWS_WITH_AS(train_tiny(config, [](TinyTask& task) { task.epoch_steps = 3; }),
                       doctest::Contains("training.saves_per_epoch is 4, but an epoch has 3 steps"), UsageError);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "run"));
}

TEST_CASE("due steps: epochs that differ in their steps are divided each by itself") {
  TaskSettings settings("task = \"sst2\"\nmodel.architecture = \"bert\"\nmodel.hidden_size = 16\nmodel.num_layers = 1\n"
                        "model.num_heads = 2\nmodel.max_positions = 64\ntraining.batch_tokens = 31\n"
                        "training.group_by_length = false\ntraining.evals_per_epoch = 2\ntraining.epochs = 4\n");
  settings.config.data.tokenizer = settings.file("tokenizer");
  write_letters(settings.config.data.tokenizer);
  std::string lines = "sentence\tlabel\n";
  for (int i = 0; i < 60; ++i) {
    for (int word = 0; word <= i * 7 % 11; ++word) lines += "a ";
    lines += "b\t" + std::to_string(i % 2) + "\n";
  }
  settings.config.data.train = {settings.write("train.tsv", lines)};
  const std::unique_ptr<Task> task = settings.task();
  const DueSteps due(settings.config.training, *task);
  std::vector<int64_t> expected, found;
  bool differ = false;
  for (int epoch = 0; epoch < 4; ++epoch) {
    const int64_t begin = epoch ? task->steps(epoch) : 0, end = task->steps(epoch + 1), count = end - begin;
    expected.push_back(begin + (count + 1) / 2);
    expected.push_back(end);
    differ = differ || count != task->steps_per_epoch();
  }
  CHECK(differ);
  for (int64_t step = 1; step <= task->steps(4); ++step)
    if (due.evaluates(step)) found.push_back(step);
  CHECK(found == expected);
}

}  // namespace engine::test::test_due_steps
