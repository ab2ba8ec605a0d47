// Averages of weights (SWA) and slow weights (Lookahead), each alone and both in either order.
#include "training/averaging.h"

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/operation.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_averaging {

namespace {

// One weight under an optimizer within two wrappers, in double. SWA(Lookahead(optimizer)) is lookahead_first.
struct WrappedWeight {
  double value, slow, average = 0;
  int64_t snapshots = 0;

  explicit WrappedWeight(double begin) : value(begin), slow(begin) {}
  void swa(int64_t step, const TrainingConfig& config) {
    if (step < config.swa_start || (step - config.swa_start) % config.swa_every != 0) return;
    const double count = static_cast<double>(snapshots++);
    average = (average * count + value) / (count + 1);
  }
  void lookahead(int64_t step, const TrainingConfig& config) {
    if (step % config.lookahead_every != 0) return;
    slow += static_cast<double>(config.lookahead_alpha) * (value - slow);
    value = slow;
  }
  void update(double delta, int64_t step, const TrainingConfig& config) {
    value += delta;
    if (config.averaging_order == "lookahead_first") {
      lookahead(step, config);
      swa(step, config);
    } else {
      swa(step, config);
      lookahead(step, config);
    }
  }
};

struct TwoParameters {
  Parameters parameters;

  explicit TwoParameters(Bench& bench) {
    parameters.add("a", {2, 3}, Initial::normal(1));
    parameters.add("b", {5}, Initial::normal(1));
    parameters.allocate(bench.ops.memory(), false);
    parameters.initialise(3);
  }
  std::vector<double> values(const Bench& bench) const {
    std::vector<double> all;
    for (const Parameter& p : parameters.all())
      for (const double value : bench.values(p.value)) all.push_back(value);
    return all;
  }
  void add(Bench& bench, const std::vector<double>& deltas) {
    size_t at = 0;
    for (Parameter& p : parameters.all()) {
      std::vector<float> sum;
      for (const double value : bench.values(p.value)) sum.push_back(static_cast<float>(value + deltas[at++]));
      parameters.write(p, 0, p.value.count(), sum.data());
    }
  }
};

std::vector<double> all_of(const std::vector<StateTensor>& state, const std::string& kind, const Bench& bench) {
  std::vector<double> all;
  for (const StateTensor& tensor : state)
    if (tensor.kind == kind)
      for (const double value : bench.values(tensor.tensor)) all.push_back(value);
  return all;
}

template <class Field>
std::vector<double> field_of(const std::vector<WrappedWeight>& weights, Field field) {
  std::vector<double> all;
  for (const WrappedWeight& weight : weights) all.push_back(weight.*field);
  return all;
}

TrainingConfig both_config(const std::string& order) {
  TrainingConfig config;
  config.swa_start = 3;
  config.swa_every = 2;
  config.lookahead_every = 3;  // steps 3 and 9 have both
  config.lookahead_alpha = 0.25f;
  config.averaging_order = order;
  return config;
}

std::vector<float> saved_values(const Config& config, const char* model) {
  const std::string bytes =
      read_text(std::filesystem::path(config.output_dir) / config.name / model / "parameters.bin");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::string saved_tensors(const Config& config) {
  return read_text(std::filesystem::path(config.output_dir) / config.name / "state/tensors.safetensors");
}

Config both_methods(const std::filesystem::path& folder, const std::string& name, const std::string& order) {
  Config config = tiny_config(folder, name);
  config.training.swa_start = 4;
  config.training.swa_every = 3;
  config.training.lookahead_every = 5;  // step 10 has both
  config.training.averaging_order = order;
  return config;
}

}  // namespace

TEST_CASE("averaging: both methods in either order are what wrappers around an optimizer make") {
  on_every_backend([](Bench& bench) {
    std::vector<std::vector<double>> averages;
    for (const char* order : {"lookahead_first", "swa_first"}) {
      CAPTURE(std::string(order));
      const TrainingConfig config = both_config(order);
      TwoParameters two(bench);
      Averaging averaging(bench.ops, two.parameters, config);
      averaging.begin();
      std::vector<WrappedWeight> weights;
      for (const double value : two.values(bench)) weights.emplace_back(value);
      Random random(5, 0);
      for (int64_t step = 1; step <= 10; ++step) {
        CAPTURE(step);
        std::vector<double> deltas;
        for (WrappedWeight& weight : weights) {
          deltas.push_back(0.3 * static_cast<double>(random.normal()));
          weight.update(deltas.back(), step, config);
        }
        two.add(bench, deltas);
        averaging.update(step);
        CHECK(averaging.acts_on(step) == (step % 3 == 0 || (step >= 3 && step % 2 == 1)));
        const double tolerance = 16 * epsilon_of(DType::f32);  // two roundings a step
        CHECK_CLOSE(two.values(bench), field_of(weights, &WrappedWeight::value), tolerance);
        CHECK_CLOSE(all_of(averaging.state(), "slow", bench), field_of(weights, &WrappedWeight::slow), tolerance);
        CHECK_CLOSE(all_of(averaging.state(), "average", bench), field_of(weights, &WrappedWeight::average), tolerance);
      }
      CHECK(averaging.count() == 4);
      averages.push_back(all_of(averaging.state(), "average", bench));
    }
    CHECK(relative_difference(averages[0], averages[1]) > 0.01);
  });
}

TEST_CASE("averaging: evaluations are on averages, weights or slow weights, and training gets its own back") {
  on_every_backend([](Bench& bench) {
    for (const char* choice : {"averages", "weights", "slow_weights"}) {
      CAPTURE(std::string(choice));
      TrainingConfig config = both_config("lookahead_first");
      config.evaluate_on = choice;
      TwoParameters two(bench);
      Averaging averaging(bench.ops, two.parameters, config);
      averaging.begin();
      const std::vector<double> deltas(11, 0.5), begin = two.values(bench);
      for (int64_t step = 1; step <= 5; ++step) {
        const std::vector<double> before = two.values(bench);
        averaging.swap();
        // There is no average before the third step. The slow weights are then those of the beginning.
        if (step <= 3) CHECK(two.values(bench) == (config.evaluate_on == "slow_weights" ? begin : before));
        averaging.swap();
        CHECK(two.values(bench) == before);
        two.add(bench, deltas);
        averaging.update(step);
      }
      const std::vector<double> own = two.values(bench);
      const std::vector<double> expected = config.evaluate_on == "weights" ? own
          : all_of(averaging.state(), config.evaluate_on == "averages" ? "average" : "slow", bench);
      averaging.swap();
      CHECK(two.values(bench) == expected);
      CHECK((expected == own) == (config.evaluate_on == "weights"));
      averaging.swap();
      CHECK(two.values(bench) == own);
    }
  });
}

TEST_CASE("averaging: where both methods are off nothing is kept and nothing acts") {
  on_every_backend([](Bench& bench) {
    TwoParameters two(bench);
    Averaging averaging(bench.ops, two.parameters, {});
    const std::vector<double> before = two.values(bench);
    averaging.begin();
    averaging.update(10);
    averaging.swap();
    CHECK(two.values(bench) == before);
    CHECK(averaging.state().empty());
    CHECK_FALSE(averaging.acts_on(10));
  });
}

TEST_CASE("averaging: a training in either order, stopped and resumed, has the same bits") {
  const TemporaryFolder folder(quick_place());
  std::vector<std::vector<float>> averages, values;
  for (const std::string order : {"lookahead_first", "swa_first"}) {
    Config config = both_methods(folder.path(), order, order);
    const Outcome whole = train_tiny(config);
    averages.push_back(saved_values(config, "last"));
    values.push_back(whole.values);
    const std::string tensors = saved_tensors(config);
    for (const int64_t stopped_at : {5, 8, 10}) {
      config.name = order + "_" + std::to_string(stopped_at);
      const Outcome stopped = train_tiny(config, [&](TinyTask& task) {
        task.before_step = [&](int64_t step) {
          if (step == stopped_at - 1) write_file(folder.path() / config.name / "stop", "");
        };
      });
      CHECK(stopped.result.step == stopped_at);
      CHECK(train_tiny(config).values == whole.values);
      CHECK(saved_values(config, "last") == averages.back());
      CHECK(saved_tensors(config) == tensors);
    }
  }
  CHECK(values[0] == values[1]);  // averages never change what is trained
  CHECK(averages[0] != averages[1]);
  Config plain = tiny_config(folder.path(), "plain");
  CHECK(train_tiny(plain).values != values[0]);
}

TEST_CASE("averaging: a rollback takes averages and slow weights back, too") {
  const TemporaryFolder folder(quick_place());
  Config config = both_methods(folder.path(), "run", "lookahead_first");
  config.training.save_every = 6;
  config.training.max_rollbacks = 1;
  const auto spoil_batch_10 = [](TinyTask& task) {
    task.change_batch = [](int64_t step, SequenceBatch& batch) {
      if (step == 10) batch.targets.weights.assign(batch.tokens.size(), NAN);
    };
  };
  const Outcome rolled = train_tiny(config, spoil_batch_10);
  CHECK(rolled.printed.find("back to step 6, rollback 1 of 1") != std::string::npos);
  const std::vector<float> averages = saved_values(config, "last");
  // The same training, stopped at step 6 and told there that its data is five batches ahead.
  config.name = "ahead";
  train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&](int64_t step) {
      if (step == 5) write_file(folder.path() / "ahead" / "stop", "");
    };
  });
  const std::filesystem::path progress = folder.path() / "ahead" / "state" / "progress.json";
  nlohmann::json state = nlohmann::json::parse(read_text(progress));
  state["data_offset"] = 5;
  write_file(progress, state.dump());
  CHECK(train_tiny(config, spoil_batch_10).values == rolled.values);
  CHECK(saved_values(config, "last") == averages);
}

TEST_CASE("averaging: frozen parameters keep their bits, and models are saved as evaluate_on says") {
  const TemporaryFolder folder(quick_place());
  for (const std::string choice : {"averages", "weights", "slow_weights"}) {
    CAPTURE(choice);
    Config config = both_methods(folder.path(), choice, "lookahead_first");
    config.training.evaluate_on = choice;
    config.training.learning_rate_scales = {"embedding:0"};
    std::vector<float> begin, after_10, evaluated;
    size_t frozen = 0;
    const Outcome outcome = train_tiny(config, [&](TinyTask& task) {
      task.before_step = [&, of = &task](int64_t step) {
        if (step == 0) begin = of->values();
        if (step == 10) after_10 = of->values();
      };
      task.measure = [&, of = &task] {
        evaluated = of->values();
        return Metrics{{"loss", 1.0}};
      };
      for (const Parameter& p : task.parameters().all()) {
        if (!p.name.starts_with("embedding")) break;
        frozen += static_cast<size_t>(p.value.count());
      }
    });
    CHECK(saved_values(config, "last") == evaluated);
    CHECK(saved_values(config, "best") == evaluated);
    CHECK((evaluated == outcome.values) == (choice == "weights"));
    CHECK((evaluated == after_10) == (choice == "slow_weights"));  // Lookahead's last step was the tenth
    REQUIRE(frozen > 0);
    const auto end_of_frozen = begin.begin() + static_cast<std::ptrdiff_t>(frozen);
    CHECK(std::equal(begin.begin(), end_of_frozen, outcome.values.begin()));
    CHECK(std::equal(begin.begin(), end_of_frozen, after_10.begin()));
    CHECK(outcome.values != begin);
  }
}

}  // namespace engine::test::test_averaging
