// Trainings that the clock ends, and the time and tokens that a training counts.
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/operation.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_max_minutes {

namespace {

using nlohmann::json;
using Reason = TrainingResult::Reason;

// Lets a task's steps take 5 seconds each and its evaluations 7.
struct FakeClock {
  double now = 1000;
  int64_t tokens = 0;

  void drive(TinyTask& task) {
    task.seconds = [this] { return now; };
    task.change_batch = [this](int64_t, SequenceBatch& batch) {
      now += 5;
      tokens += static_cast<int64_t>(batch.tokens.size());
    };
    task.measure = [this] {
      now += 7;
      return Metrics{{"loss", 1.0}};
    };
  }
};

std::vector<json> lines_of(const Config& config, const char* split) {
  std::vector<json> lines;
  std::istringstream log(read_text(std::filesystem::path(config.output_dir) / config.name / "metrics.jsonl"));
  for (std::string line; std::getline(log, line);)
    if (const json event = json::parse(line); event.at("split") == split) lines.push_back(event);
  return lines;
}

std::vector<double> rates_of(const Config& config) {
  std::vector<double> rates;
  for (const json& line : lines_of(config, "train")) rates.push_back(line.at("learning_rate").get<double>());
  return rates;
}

Config minute(const std::filesystem::path& folder, const std::string& name) {
  Config config = tiny_config(folder, name);
  config.training.max_steps = 1000;
  config.training.max_minutes = 1;
  config.training.log_every = 1;
  return config;
}

}  // namespace

TEST_CASE("max_minutes: the clock ends a training, its rate has fallen, and its last step is evaluated and saved") {
  const TemporaryFolder folder(quick_place());
  const Config config = minute(folder.path(), "run");
  FakeClock clock;
  const Outcome outcome = train_tiny(config, [&](TinyTask& task) { clock.drive(task); });
  CHECK(outcome.result.reason == Reason::out_of_time);
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.result.step == 12);
  CHECK(outcome.printed.find("1000 steps, at most 1 min\n") != std::string::npos);
  CHECK(outcome.printed.find("ended by the clock at step 12: training.max_minutes is 1\n") != std::string::npos);
  CHECK(outcome.result.best_step == 12);
  for (const char* model : {"best", "last"})
    CHECK(std::filesystem::exists(folder.path() / "run" / model / "parameters.bin"));
  const std::vector<double> rates = rates_of(config);
  REQUIRE(rates.size() == 12);
  for (size_t i = 0; i < 12; ++i) {
    // Warm-up takes three steps and 15 seconds. Behind it 45 seconds are left, and a step takes 5.
    const double expected = i < 3 ? static_cast<double>(i + 1) / 3 : 1 - static_cast<double>(i - 3) / 9;
    CHECK(rates[i] == doctest::Approx(3e-3 * expected).epsilon(1e-6));
  }
}

TEST_CASE("max_minutes: where the steps are done before, the clock changes nothing") {
  const TemporaryFolder folder(quick_place());
  Config config = minute(folder.path(), "timed");
  config.training.max_steps = 12;
  config.training.max_minutes = 100;
  FakeClock clock;
  const Outcome timed = train_tiny(config, [&](TinyTask& task) { clock.drive(task); });
  CHECK(timed.result.reason == Reason::finished);
  config.name = "free";
  config.training.max_minutes = 0;
  CHECK(train_tiny(config, [&](TinyTask& task) { clock.drive(task); }).values == timed.values);
}

TEST_CASE("max_minutes: evaluations count, pauses between a run's parts do not, and more minutes go on") {
  const TemporaryFolder folder(quick_place());
  Config config = minute(folder.path(), "whole");
  config.training.eval_every = 6;
  FakeClock clock;
  const Outcome whole = train_tiny(config, [&](TinyTask& task) { clock.drive(task); });
  CHECK(whole.result.step == 11);  // 55 seconds of steps and 7 of an evaluation
  config.name = "halves";
  const Outcome half = train_tiny(config, [&](TinyTask& task) {
    clock.drive(task);
    task.before_step = [&](int64_t step) {
      if (step == 6) write_file(folder.path() / "halves" / "stop", "");
    };
  });
  CHECK(half.result.reason == Reason::stopped);
  CHECK(half.result.step == 7);
  clock.now += 1e5;
  const Outcome resumed = train_tiny(config, [&](TinyTask& task) { clock.drive(task); });
  CHECK(resumed.result.reason == Reason::out_of_time);
  CHECK(resumed.result.step == 11);
  CHECK(resumed.values == whole.values);

  const Outcome again = train_tiny(config, [&](TinyTask& task) { clock.drive(task); });
  CHECK(again.result.reason == Reason::was_finished);
  CHECK(again.printed.find("has finished, at step 11: raise training.max_minutes") != std::string::npos);
  config.training.max_minutes = 2;
  config.training.resume_warmup_steps = 2;
  const Outcome more = train_tiny(config, [&](TinyTask& task) { clock.drive(task); });
  CHECK(more.result.reason == Reason::out_of_time);
  // The first 69 seconds had two evaluations. Eight steps and the evaluations of steps 12 and 18 fill the other 51.
  CHECK(more.result.step == 19);
  const std::vector<double> rates = rates_of(config);
  CHECK(rates[11] == doctest::Approx(rates[10]));  // the first step goes on with the last rate
  CHECK(rates[13] > 2 * rates[10]);
}

TEST_CASE("max_minutes: a rollback does not turn the clock back") {
  const TemporaryFolder folder(quick_place());
  Config config = minute(folder.path(), "run");
  config.training.save_every = 3;
  config.training.max_rollbacks = 1;
  FakeClock clock;
  const Outcome outcome = train_tiny(config, [&](TinyTask& task) {
    clock.drive(task);
    task.change_batch = [&, change = task.change_batch](int64_t step, SequenceBatch& batch) {
      change(step, batch);
      if (step == 4) batch.targets.weights.assign(batch.tokens.size(), NAN);
    };
  });
  CHECK(outcome.printed.find("back to step 3") != std::string::npos);
  CHECK(outcome.result.step == 10);  // two of twelve were for nothing
  CHECK(lines_of(config, "train").back().at("seconds").get<double>() == 60);
}

TEST_CASE("max_minutes: a device that is given steps early ends after the same step") {
  const std::vector<std::string> devices = other_devices();
  if (devices.empty()) SKIP_TEST("there is no device beside the CPU");
  for (const std::string& device : devices) {
    const TemporaryFolder folder(quick_place());
    std::array<Outcome, 2> outcomes;
    for (const bool waits : {false, true}) {
      Config config = minute(folder.path(), waits ? "waiting" : "late");
      config.model.num_layers = 1;
      config.model.hidden_size = 16;
      config.training.batch_size = 3;
      config.training.log_every = 100;
      FakeClock clock;
      outcomes[waits] = train_tiny(config, [&](TinyTask& task) {
        clock.drive(task);
        task.follows = waits;
      }, DType::f32, device);
      CHECK(outcomes[waits].result.step == 12);
    }
    CHECK(outcomes[0].values == outcomes[1].values);
  }
}

TEST_CASE("log: tokens and seconds of all steps so far, over resumptions, and from an older state") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  config.training.eval_every = 3;
  FakeClock clock;
  train_tiny(config, [&](TinyTask& task) {
    clock.drive(task);
    task.before_step = [&](int64_t step) {
      if (step == 5) write_file(folder.path() / "run" / "stop", "");
    };
  });
  const std::filesystem::path state = folder.path() / "run" / "state" / "progress.json";
  const std::string of_step_6 = read_text(state);
  CHECK(json::parse(of_step_6).at("tokens") == clock.tokens);
  clock.now += 1e5;
  train_tiny(config, [&](TinyTask& task) { clock.drive(task); });
  const std::vector<json> log = lines_of(config, "train");
  REQUIRE(log.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(log[i].at("seconds").get<double>() == 20 * static_cast<double>(i + 1));
  CHECK(log[2].at("tokens").get<double>() == static_cast<double>(clock.tokens));
  CHECK(log[2].at("tokens_per_second").get<double>() ==
        doctest::Approx((log[2].at("tokens").get<double>() - log[1].at("tokens").get<double>()) / 20));
  CHECK_FALSE(lines_of(config, "eval").back().contains("seconds"));

  // The state of step 6 as an older version of the program wrote it.
  json older = json::parse(of_step_6);
  for (const char* name : {"tokens", "seconds", "run_seconds", "max_minutes", "warmup_seconds"})
    CHECK(older.erase(name) == 1);
  write_file(state, older.dump());
  TrainingProgress progress = read_progress(folder.path() / "run" / "state");
  CHECK(progress.step == 6);
  CHECK(progress.tokens == 0);
  CHECK(progress.seconds == 0);
  CHECK(progress.run_seconds == 0);
}

TEST_CASE("log: a step without a label adds no tokens") {
  const TemporaryFolder folder(quick_place());
  const Config config = tiny_config(folder.path(), "run");
  int64_t tokens = 0;
  train_tiny(config, [&](TinyTask& task) {
    task.change_batch = [&](int64_t step, SequenceBatch& batch) {
      if (step == 2) std::fill(batch.targets.labels.begin(), batch.targets.labels.end(), -100);
      else tokens += static_cast<int64_t>(batch.tokens.size());
    };
  });
  CHECK(lines_of(config, "train").back().at("tokens").get<double>() == static_cast<double>(tokens));
}

}  // namespace engine::test::test_max_minutes
