// Trainings that roll back, pass over steps, average their weights, reduce their rate, and tell how they ended.
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/model_run.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_training_states {

namespace {

using nlohmann::json;

std::vector<json> log_of(const Config& config) {
  std::vector<json> lines;
  std::istringstream log(read_text(std::filesystem::path(config.output_dir) / config.name / "metrics.jsonl"));
  for (std::string line; std::getline(log, line);) lines.push_back(json::parse(line));
  return lines;
}

// Makes the loss of one batch NaN.
void spoil(SequenceBatch& batch) { batch.targets.weights.assign(batch.tokens.size(), NAN); }
void remove_labels(SequenceBatch& batch) {
  std::fill(batch.targets.labels.begin(), batch.targets.labels.end(), -100);
}

std::vector<float> saved_values(const Config& config, const char* model) {
  const std::string bytes =
      read_text(std::filesystem::path(config.output_dir) / config.name / model / "parameters.bin");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

TEST_CASE("rollback: a step that is not finite goes back to the saved state and on with the data behind it") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.path(), "run");
  config.training.save_every = 3;
  config.training.max_rollbacks = 1;
  const auto spoil_batch_4 = [](TinyTask& task) {
    task.change_batch = [](int64_t step, SequenceBatch& batch) {
      if (step == 4) spoil(batch);
    };
  };
  const Outcome rolled = train_tiny(config, spoil_batch_4);
  CHECK(rolled.printed.find("back to step 3, rollback 1 of 1") != std::string::npos);
  CHECK(rolled.result.step == 12);
  for (const float value : rolled.values) REQUIRE(std::isfinite(value));
  const std::vector<json> log = log_of(config);
  CHECK(log.back().at("step") == 12);
  CHECK(log[log.size() - 2].at("rollbacks") == 1);

  // The same training, stopped at step 3 and told there that its data is two batches ahead.
  config.name = "ahead";
  train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&](int64_t step) {
      if (step == 2) write_file(folder.path() / "ahead" / "stop", "");
    };
  });
  const std::filesystem::path progress = folder.path() / "ahead" / "state" / "progress.json";
  json state = json::parse(read_text(progress));
  REQUIRE(state.at("step") == 3);
  state["data_offset"] = 2;
  write_file(progress, state.dump());
  CHECK(train_tiny(config, spoil_batch_4).values == rolled.values);

  // Stopped after the rollback, it goes on as if it had not been.
  config.name = "stopped";
  train_tiny(config, [&](TinyTask& task) {
    spoil_batch_4(task);
    task.before_step = [&](int64_t step) {
      if (step == 6) write_file(folder.path() / "stopped" / "stop", "");
    };
  });
  CHECK(train_tiny(config, spoil_batch_4).values == rolled.values);
}

TEST_CASE("rollback: before the first saving it goes back to the beginning; without one left the step is an error") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.path(), "run");
  config.training.max_rollbacks = 2;
  const auto spoil_some = [](TinyTask& task) {
    task.change_batch = [](int64_t step, SequenceBatch& batch) {
      if (step == 1 || step == 3 || step == 30) spoil(batch);
    };
  };
  const Outcome twice = train_tiny(config, spoil_some);
  CHECK(twice.printed.find("back to step 0, rollback 2 of 2") != std::string::npos);
  CHECK(twice.result.step == 12);
  config.name = "once";
  config.training.max_rollbacks = 1;
  CHECK_THROWS_WITH_AS(train_tiny(config, spoil_some), doctest::Contains("raise training.max_rollbacks"), Error);
  config.name = "never";
  config.training.max_rollbacks = 0;
  CHECK_THROWS_WITH_AS(train_tiny(config, spoil_some), doctest::Contains("step 2: the loss is "), Error);
}

TEST_CASE("steps without a label are passed over and counted") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.path(), "run");
  std::vector<float> begin;
  const Outcome some = train_tiny(config, [&](TinyTask& task) {
    task.change_batch = [](int64_t step, SequenceBatch& batch) {
      if (step == 2 || step == 7) remove_labels(batch);
    };
    task.before_step = [&, of = &task](int64_t step) {
      if (step == 0) begin = of->values();
    };
  });
  CHECK(some.result.step == 12);
  CHECK(some.values != begin);
  const std::vector<json> log = log_of(config);
  CHECK(log[log.size() - 2].at("steps_without_labels") == 2);

  config.name = "none";
  const Outcome none = train_tiny(config, [](TinyTask& task) {
    task.change_batch = [](int64_t, SequenceBatch& batch) { remove_labels(batch); };
  });
  CHECK(none.result.step == 12);
  CHECK(none.values == begin);
  CHECK(!log_of(config).front().contains("loss"));
}

TEST_CASE("averaging: evaluated and saved weights are the mean of the averaged steps, and a resumed run has the same") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.path(), "whole");
  config.training.swa_start = 4;
  config.training.swa_every = 2;
  std::vector<double> sum;
  std::vector<float> evaluated;
  const auto add = [&](const std::vector<float>& values) {
    sum.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) sum[i] += static_cast<double>(values[i]);
  };
  const Outcome whole = train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&, of = &task](int64_t step) {  // the values after `step` steps
      if (step >= 4 && step % 2 == 0) add(of->values());
    };
    task.measure = [&, of = &task] {
      evaluated = of->values();
      return Metrics{{"loss", 1.0}};
    };
  });
  add(whole.values);  // after step 12 the training has its own values again
  REQUIRE(evaluated.size() == sum.size());
  CHECK(evaluated != whole.values);
  for (size_t i = 0; i < sum.size(); ++i)
    REQUIRE(std::abs(static_cast<double>(evaluated[i]) - sum[i] / 5) <= 0x1p-21 * (std::abs(sum[i]) + 1));
  CHECK(saved_values(config, "last") == evaluated);
  CHECK(saved_values(config, "best") == evaluated);

  config.training.scheduler = "constant";
  config.name = "constant";
  const Outcome constant = train_tiny(config);
  config.name = "constant_halves";
  train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&](int64_t step) {
      if (step == 6) write_file(folder.path() / "constant_halves" / "stop", "");
    };
  });
  const Outcome resumed = train_tiny(config);
  CHECK(resumed.values == constant.values);
  const std::vector<float> averages = saved_values(config, "last");
  config.name = "constant";
  CHECK(averages == saved_values(config, "last"));
}

TEST_CASE("plateau: the rate falls when evaluations become no better, and a resumed run goes on with it") {
  const TemporaryFolder folder;
  Config config = tiny_config(folder.path(), "whole");
  config.training.scheduler = "plateau";
  config.training.warmup_steps = 0;
  config.training.log_every = config.training.eval_every = 1;
  config.training.plateau_factor = 0.5f;
  config.training.plateau_patience = 2;
  const std::vector<double> losses{5, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3};
  const auto rates_of = [&](const Config& of) {
    std::vector<double> rates;
    for (const json& line : log_of(of))
      if (line.at("split") == "train") rates.push_back(line.at("learning_rate").get<double>() / 3e-3);
    return rates;
  };
  const auto measured = [&](TinyTask& task) {
    task.measure = [&losses, of = &task] {
      return Metrics{{"loss", losses[static_cast<size_t>(of->last_step)]}};
    };
  };
  const Outcome whole = train_tiny(config, measured);
  const std::vector<double> rates = rates_of(config);
  const std::vector<double> expected{1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625};
  REQUIRE(rates.size() == expected.size());
  for (size_t i = 0; i < rates.size(); ++i) CHECK(rates[i] == doctest::Approx(expected[i]));
  config.name = "halves";
  train_tiny(config, [&](TinyTask& task) {
    measured(task);
    task.before_step = [&](int64_t step) {
      if (step == 5) write_file(folder.path() / "halves" / "stop", "");
    };
  });
  CHECK(train_tiny(config, measured).values == whole.values);
  CHECK(rates_of(config) == rates);
}

TEST_CASE("training result: how a training ended, its step, and its last and best metrics") {
  using Reason = TrainingResult::Reason;
  const TemporaryFolder folder;
  Config config = tiny_config(folder.path(), "run");
  config.training.eval_every = 4;
  std::vector<double> losses{3, 1, 2};
  size_t at = 0;
  const auto measured = [&](TinyTask& task) {
    task.measure = [&] { return Metrics{{"loss", losses[at++]}}; };
  };
  const TrainingResult result = train_tiny(config, measured).result;
  CHECK(result.reason == Reason::finished);
  CHECK(result.exit_code() == 0);
  CHECK(result.folder == folder.path() / "run");
  CHECK(result.step == 12);
  CHECK(result.metrics == Metrics{{"loss", 2.0}});
  CHECK(result.has_best);
  CHECK(result.best == 1);
  CHECK(result.best_step == 8);
  CHECK(train_tiny(config).result.reason == Reason::was_finished);

  config.name = "stopped";
  const auto stop_with = [&](const char* file) {
    return train_tiny(config, [&](TinyTask& task) {
             task.before_step = [&](int64_t) { write_file(folder.path() / "stopped" / file, ""); };
           }).result;
  };
  CHECK(stop_with("stop").reason == Reason::stopped);
  CHECK(stop_with("stop_now").reason == Reason::stopped_now);
  config.name = "early";
  config.training.early_stopping_patience = 1;
  config.training.eval_every = 2;
  at = 0;
  losses = {1, 2};
  CHECK(train_tiny(config, measured).result.reason == Reason::stopped_early);
}

}  // namespace engine::test::test_training_states
