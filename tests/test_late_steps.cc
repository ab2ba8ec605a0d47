// A device is given a step before the host has read the one before it. Logs, weights and saved states are those of a
// training that waits for every step.
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/operation.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_late_steps {

namespace {

// Returns the log without its times.
std::string log_of(const Config& config) {
  std::string log;
  std::istringstream lines(read_text(std::filesystem::path(config.output_dir) / config.name / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    nlohmann::json event = nlohmann::json::parse(line);
    event.erase("tokens_per_second");
    event.erase("seconds");
    event.erase("memory_mib");
    log += event.dump() + "\n";
  }
  return log;
}

void spoil(SequenceBatch& batch) { batch.targets.weights.assign(batch.tokens.size(), NAN); }

// Trains on a device twice, late and waiting for every step, each time by `training` from an empty run folder.
struct LateAndWaiting {
  TemporaryFolder folder{quick_place()};
  std::string device;
  std::array<Config, 2> configs;

  explicit LateAndWaiting(const std::string& of) : device(of) {
    for (const bool waits : {false, true}) {
      Config& config = configs[waits];
      config = tiny_config(folder.path(), waits ? "waiting" : "late");
      config.model.num_layers = 1;
      config.model.hidden_size = 16;
      config.training.batch_size = 3;
    }
  }
  Outcome train(bool waits, const std::function<void(TinyTask&)>& prepare = {}) {
    return train_tiny(configs[waits], [&](TinyTask& task) {
      task.follows = waits;
      if (prepare) prepare(task);
    }, DType::f32, device);
  }
  // Trains both and returns the weights, which are the same.
  std::vector<float> check_same(const std::function<void(TinyTask&)>& prepare = {}) {
    const Outcome late = train(false, prepare), waiting = train(true, prepare);
    CHECK(late.values == waiting.values);
    CHECK(late.result.step == waiting.result.step);
    CHECK(log_of(configs[0]) == log_of(configs[1]));
    return late.values;
  }
};

template <class Body>
void on_every_device(const Body& body) {
  const std::vector<std::string> devices = other_devices();
  if (devices.empty()) SKIP_TEST("there is no device beside the CPU");
  for (const std::string& device : devices) body(device);
}

}  // namespace

TEST_CASE("late steps: log, evaluations and weights are those of a training that waits for every step") {
  on_every_device([](const std::string& device) {
    LateAndWaiting both(device);
    for (Config& config : both.configs) {
      config.training.eval_every = 6;
      config.training.save_every = 5;
    }
    int64_t steps = 0;
    both.check_same([&](TinyTask& task) {
      task.change_batch = [&](int64_t step, SequenceBatch& batch) {
        ++steps;
        if (step == 6) std::fill(batch.targets.labels.begin(), batch.targets.labels.end(), -100);
      };
    });
    CHECK(steps == 2 * 12);
  });
}

TEST_CASE("late steps: averages, slow weights and clipping of each gradient are those of a training that waits") {
  on_every_device([](const std::string& device) {
    LateAndWaiting both(device);
    for (Config& config : both.configs) {
      config.training.swa_start = 4;
      config.training.swa_every = 3;
      config.training.lookahead_every = 5;
      config.training.max_tensor_norm = 0.05f;
    }
    both.check_same();
    for (const char* file : {"last/parameters.bin", "state/tensors.safetensors"})
      CHECK(read_text(both.folder.path() / "late" / file) == read_text(both.folder.path() / "waiting" / file));
  });
}

TEST_CASE("late steps: a training that is stopped between two lines of the log goes on with the same bits") {
  on_every_device([](const std::string& device) {
    LateAndWaiting both(device);
    const std::vector<float> unbroken = both.check_same();
    both.configs[0].name = "stopped";
    const Outcome stopped = both.train(false, [&](TinyTask& task) {
      task.before_step = [&](int64_t step) {
        if (step == 6) write_file(both.folder.path() / "stopped" / "stop", "");
      };
    });
    CHECK(stopped.result.reason == TrainingResult::Reason::stopped);
    CHECK(stopped.result.step == 7);
    CHECK(both.train(false).values == unbroken);
    CHECK(log_of(both.configs[0]) == log_of(both.configs[1]));
  });
}

TEST_CASE("late steps: a step that is not finite goes back as in a training that waits") {
  on_every_device([](const std::string& device) {
    LateAndWaiting both(device);
    for (Config& config : both.configs) {
      config.training.save_every = 3;
      config.training.max_rollbacks = 1;
    }
    for (const int64_t spoiled : {3, 4, 11}) {  // the first is read late, the second before the saving of step 6
      for (Config& config : both.configs) {
        config.name += std::to_string(spoiled);
        config.training.save_every = spoiled == 3 ? 0 : 3;
      }
      both.check_same([&](TinyTask& task) {
        task.change_batch = [&](int64_t step, SequenceBatch& batch) {
          if (step == spoiled) spoil(batch);
        };
      });
    }
  });
}

TEST_CASE("late steps: an error tells of the step that was not finite, and parameters are those before it") {
  on_every_device([](const std::string& device) {
    LateAndWaiting both(device);
    Config& config = both.configs[0];
    config.training.log_every = 100;
    Options options;
    config.declare(options);
    OwnMachine own(DType::f32, size_t{1} << 30, device);
    TinyTask task(config, *own.ops);
    std::vector<float> before;
    int64_t begun = 0;
    task.change_batch = [&](int64_t step, SequenceBatch& batch) {
      begun = step + 1;
      if (step != 5) return;
      before = task.values();
      spoil(batch);
    };
    std::string message;
    std::FILE* out = std::fopen("/dev/null", "w");
    try {
      train_task(config, options, task, own.machine, out);
    } catch (const Error& error) {
      message = error.what();
    }
    std::fclose(out);
    CHECK_MESSAGE(message.starts_with("step 6: the loss is "), message);
    CHECK(begun == 7);  // the next step was begun before this one was read
    CHECK(task.values() == before);
  });
}

}  // namespace engine::test::test_late_steps
