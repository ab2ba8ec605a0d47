#include <doctest/doctest.h>

#include "core/error.h"
#include "training/batch.h"
#include "training/schedule.h"

namespace engine::test {

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

}  // namespace engine::test
