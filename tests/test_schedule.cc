#include <doctest/doctest.h>

#include "core/error.h"
#include "training/batch.h"
#include "training/schedule.h"

namespace engine::test::test_schedule {

namespace {

TrainingConfig config_of(const std::string& scheduler) {
  TrainingConfig config;
  config.scheduler = scheduler;
  config.learning_rate = 0.8f;
  config.min_learning_rate = 0.2f;
  config.warmup_steps = 4;
  return config;
}

}  // namespace

TEST_CASE("schedule: warm-up and fall by hand") {
  // The warm-up has 0.8 times 1/4 ... 4/4. Then come 8 steps of progress 0, 1/8 ... 7/8.
  for (const char* name : {"linear", "cosine", "constant", "exponential"}) {
    const Schedule schedule(config_of(name), 12);
    CHECK(schedule.learning_rate_at(0) == doctest::Approx(0.2));
    CHECK(schedule.learning_rate_at(1) == doctest::Approx(0.4));
    CHECK(schedule.learning_rate_at(3) == doctest::Approx(0.8));
    CHECK(schedule.learning_rate_at(4) == doctest::Approx(0.8));
  }
  const Schedule linear(config_of("linear"), 12), cosine(config_of("cosine"), 12), constant(config_of("constant"), 12),
      exponential(config_of("exponential"), 12);
  CHECK(linear.learning_rate_at(6) == doctest::Approx(0.65));
  CHECK(linear.learning_rate_at(8) == doctest::Approx(0.5));
  CHECK(linear.learning_rate_at(12) == doctest::Approx(0.2));
  CHECK(linear.learning_rate_at(100) == doctest::Approx(0.2));
  CHECK(cosine.learning_rate_at(6) == doctest::Approx(0.2 + 0.6 * 0.8535533905932737));
  CHECK(cosine.learning_rate_at(8) == doctest::Approx(0.5));
  CHECK(cosine.learning_rate_at(12) == doctest::Approx(0.2));
  CHECK(exponential.learning_rate_at(8) == doctest::Approx(0.4));  // the geometric mean of 0.8 and 0.2
  CHECK(exponential.learning_rate_at(12) == doctest::Approx(0.2));
  CHECK(constant.learning_rate_at(11) == doctest::Approx(0.8));
}

TEST_CASE("schedule: warm-up can start from the rate that a model was left with") {
  TrainingConfig config = config_of("linear");
  config.initial_learning_rate = 0.4f;
  const Schedule schedule(config, 12);
  CHECK(schedule.learning_rate_at(0) == doctest::Approx(0.5));
  CHECK(schedule.learning_rate_at(3) == doctest::Approx(0.8));
}

TEST_CASE("schedule: without warm-up, with nothing but warm-up, and over one step") {
  TrainingConfig config = config_of("linear");
  config.warmup_steps = 0;
  CHECK(Schedule(config, 3).learning_rate_at(0) == doctest::Approx(0.8));
  CHECK(Schedule(config, 3).learning_rate_at(1) == doctest::Approx(0.6));
  CHECK(Schedule(config, 1).learning_rate_at(0) == doctest::Approx(0.8));
  config.warmup_steps = 10;
  CHECK(Schedule(config, 5).learning_rate_at(4) == doctest::Approx(0.4));
}

TEST_CASE("schedule: numbers that make none are refused") {
  TrainingConfig config = config_of("exponential");
  config.min_learning_rate = 0;
  CHECK_THROWS_AS(Schedule(config, 10), UsageError);
  config = config_of("cosine");
  config.min_learning_rate = 1;
  CHECK_THROWS_AS(Schedule(config, 10), UsageError);
}

TEST_CASE("schedule: cycles by hand, and their decay by cycle and by step") {
  TrainingConfig config;
  config.scheduler = "cyclic";
  config.learning_rate = 0.9f;
  config.min_learning_rate = 0.1f;
  config.cycle_steps = 8;
  const auto check = [&](const std::vector<std::pair<int64_t, double>>& expected) {
    const Schedule schedule(config, 10);
    for (const auto& [step, rate] : expected) {
      CAPTURE(step);
      CHECK(schedule.learning_rate_at(step) == doctest::Approx(rate));
    }
  };
  check({{0, 0.1}, {1, 0.3}, {2, 0.5}, {4, 0.9}, {5, 0.7}, {7, 0.3}, {8, 0.1}, {12, 0.9}, {100, 0.9}});
  config.cycle_decay = 0.5f;
  check({{0, 0.1}, {4, 0.1 + 0.8 / 2}, {6, 0.1 + 0.4 / 2}, {8, 0.1}, {12, 0.1 + 0.8 / 4}, {20, 0.1 + 0.8 / 8}});
  config.cycle_decay_by = "step";
  check({{0, 0.1}, {1, 0.1 + 0.2 / 2}, {4, 0.1 + 0.8 / 16}, {6, 0.1 + 0.4 / 64}, {8, 0.1}, {12, 0.1 + 0.8 / 4096}});
  config.cycle_decay = 1;
  config.cycle_steps = 5;  // rises for two steps and a half
  check({{0, 0.1}, {1, 0.42}, {2, 0.74}, {3, 0.74}, {4, 0.42}, {5, 0.1}});
  config.cycle_steps = 0;
  CHECK_THROWS_WITH_AS(Schedule(config, 10), doctest::Contains("training.cycle_steps"), UsageError);
}

TEST_CASE("schedule: the clock brings the rate down where it is faster than the steps") {
  TrainingConfig config = config_of("linear");  // from 0.8 to 0.2 after 4 steps
  config.max_minutes = 2;
  Schedule schedule(config, 104);
  schedule.observe_time(0, 0);
  CHECK(schedule.learning_rate_at(0) == doctest::Approx(0.2));
  schedule.observe_time(3, 15);
  CHECK(schedule.learning_rate_at(3) == doctest::Approx(0.8));  // warm-up goes by steps
  schedule.observe_time(4, 20);
  CHECK(schedule.learning_rate_at(4) == doctest::Approx(0.8));
  schedule.observe_time(9, 70);  // half of the 100 seconds that were left after warm-up
  CHECK(schedule.learning_rate_at(9) == doctest::Approx(0.5));
  CHECK(schedule.seconds_left() == doctest::Approx(50));
  schedule.observe_time(79, 71);  // three quarters of the steps
  CHECK(schedule.learning_rate_at(79) == doctest::Approx(0.35));
  CHECK_FALSE(schedule.is_out_of_time());
  schedule.observe_time(80, 120);
  CHECK(schedule.is_out_of_time());
  CHECK(schedule.learning_rate_at(80) == doctest::Approx(0.2));
  // A resumed training knows when its warm-up was over.
  Schedule resumed(config, 104);
  resumed.set_observed(schedule.observed());
  resumed.observe_time(9, 70);
  CHECK(resumed.learning_rate_at(9) == doctest::Approx(0.5));
  Schedule without(config_of("linear"), 104);
  without.observe_time(4, 1e9);
  CHECK_FALSE(without.is_out_of_time());
  CHECK(without.learning_rate_at(54) == doctest::Approx(0.5));
}

TEST_CASE("schedule: steps of a run") {
  TrainingConfig config;
  CHECK_THROWS_AS(training_steps(config, 10), UsageError);
  config.epochs = 2.5;
  CHECK(training_steps(config, 25) == 25);
  CHECK_THROWS_AS(training_steps(config, 0), UsageError);
  config.max_steps = 7;
  CHECK(training_steps(config, 0) == 7);
}

TEST_CASE("batch: sequences, scored tokens, and the cut into micro-batches") {
  SequenceBatch batch;
  for (const int length : {3, 5, 2, 9, 1}) {
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(i);
      batch.targets.labels.push_back(i == 0 ? -100 : i);
    }
    batch.end_sequence();
  }
  CHECK(batch.sequences() == 5);
  CHECK(batch.scored() == 15);
  CHECK(batch.scored(1, 3) == 5);
  CHECK(micro_batch_end(batch, 0, 5, 2, 0) == 2);
  CHECK(micro_batch_end(batch, 4, 5, 2, 0) == 5);
  CHECK(micro_batch_end(batch, 0, 5, 0, 8) == 2);   // 3 + 5
  CHECK(micro_batch_end(batch, 2, 5, 0, 8) == 3);   // with 9 it would be 11
  CHECK(micro_batch_end(batch, 3, 5, 0, 8) == 4);   // it has one at least, though longer than the limit
  CHECK(micro_batch_end(batch, 0, 5, 0, 100) == 5);
  CHECK(micro_batch_end(batch, 0, 3, 0, 100) == 3);
  CHECK(micro_batch_end(batch, 2, 3, 4, 0) == 3);
  batch.tokens.push_back(1);
  CHECK_THROWS_AS(batch.end_sequence(), Error);
  batch.clear();
  CHECK(batch.sequences() == 0);
  CHECK(batch.scored() == 0);
}

}  // namespace engine::test::test_schedule
