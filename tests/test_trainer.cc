#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <new>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/parallel.h"
#include "tests/operation.h"
#include "tests/task_settings.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace {

std::atomic<bool> counting = false;
std::atomic<int64_t> allocations = 0;

void* counted_or_null(size_t bytes) {
  if (counting) ++allocations;
  return std::malloc(bytes ? bytes : 1);
}

void* counted(size_t bytes) {
  void* memory = counted_or_null(bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Some of these may be inlined and others not. gcc then sees malloc's memory given to delete, or new's to free, and
// warns.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(size_t bytes) { return counted(bytes); }
void* operator new[](size_t bytes) { return counted(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return counted_or_null(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return counted_or_null(bytes); }
// aligned_alloc needs a multiple of the alignment.
void* operator new(size_t bytes, std::align_val_t alignment) {
  if (counting) ++allocations;
  const auto unit = static_cast<size_t>(alignment);
  void* memory = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t bytes, std::align_val_t alignment) { return operator new(bytes, alignment); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace engine::test::test_trainer {

namespace {

std::vector<nlohmann::json> log_of(const Config& config) {
  std::vector<nlohmann::json> lines;
  std::istringstream log(read_text(std::filesystem::path(config.output_dir) / config.name / "metrics.jsonl"));
  for (std::string line; std::getline(log, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// The steps 3, 4 and 5 of this task count allocations.
class CountedTask final : public Task {
 public:
  explicit CountedTask(Task& task) : task_(task) {}
  Parameters& parameters() override { return task_.parameters(); }
  int64_t steps_per_epoch() const override { return task_.steps_per_epoch(); }
  void batch_of(int64_t step, SequenceBatch& batch) override {
    counting = step >= 3 && step < 6;
    task_.batch_of(step, batch);
  }
  std::string fingerprint() const override { return task_.fingerprint(); }
  BatchLoss& loss() override { return task_.loss(); }
  Metrics evaluate(Machine&, std::string&) override { return {}; }
  std::pair<std::string, bool> best_metric() const override { return task_.best_metric(); }
  std::vector<std::string> metric_names() const override { return task_.metric_names(); }
  void save_model(const std::filesystem::path& folder) override { task_.save_model(folder); }

 private:
  Task& task_;
};

int64_t allocations_of(TaskSettings& settings, DType compute) {
  settings.machine.compute = compute;
  const auto task = settings.task();
  CountedTask counted_task(*task);
  allocations = 0;
  std::FILE* out = std::fopen("/dev/null", "w");
  CHECK(train_task(settings.config, settings.options, counted_task, settings.machine, out).exit_code() == 0);
  std::fclose(out);
  counting = false;
  return allocations;
}

std::vector<double> doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

}  // namespace

TEST_CASE("trainer: the loss of a small model on a small text falls") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  config.model.dropout = config.model.attention_dropout = 0;
  config.training.max_steps = 150;
  config.training.batch_size = 16;
  config.training.learning_rate = 1e-2f;
  config.training.eval_every = 50;
  for (const DType compute : {DType::f32, DType::bf16}) {
    CAPTURE(std::string(name_of(compute)));
    config.name = name_of(compute);
    CHECK(train_tiny(config, {}, compute).exit_code == 0);
    const std::vector<nlohmann::json> log = log_of(config);
    const nlohmann::json &first = log.front(), &last = log.back();
    CHECK(first["split"] == "train");
    CHECK(first["loss"].get<double>() > 2.5);  // log 27 is 3.3
    CHECK(last["split"] == "eval");
    CHECK(last["step"] == 150);
    CHECK(last["loss"].get<double>() < 0.9);
    CHECK(last["accuracy"].get<double>() > 0.7);
  }
}

TEST_CASE("trainer: a run folder holds what it should") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  config.training.eval_every = 6;
  config.training.save_every = 4;
  config.training.keep_checkpoints = 2;
  train_tiny(config);
  const std::filesystem::path run = folder.path() / "run";
  for (const char* name : {"task.cfg", "metrics.jsonl", "best/parameters.bin", "last/parameters.bin",
                           "state/progress.json", "samples/step_6.txt", "samples/step_12.txt", "checkpoint-8",
                           "checkpoint-12"})
    CHECK_MESSAGE(std::filesystem::exists(run / name), name);
  CHECK_FALSE(std::filesystem::exists(run / "checkpoint-4"));
  Config again;
  Options options;
  again.declare(options);
  options.read_file(run / "task.cfg");
  CHECK(again.training.keep_checkpoints == 2);
  CHECK(again.model.hidden_size == 32);
  const std::vector<nlohmann::json> log = log_of(config);
  REQUIRE(log.size() == 5);  // train at 4, 8, 12; eval at 6, 12
  for (const char* name : {"step", "split", "loss", "accuracy", "learning_rate", "grad_norm", "tokens_per_second",
                           "tokens", "seconds", "memory_mib"})
    CHECK_MESSAGE(log[0].contains(name), name);
}

TEST_CASE("trainer: the cut into micro-batches changes nothing but rounding") {
  const TemporaryFolder folder(quick_place());
  // A gradient is a sum over less than 128 tokens, in another order. Each of 5 steps errs by at most that many
  // roundings of an update that is less than the largest parameter. Epsilon 1 keeps Adam from magnifying the rounding
  // errors of gradients that are zero, as those of a key's bias.
  const double tolerance = 5 * 128 * epsilon_of(DType::f32);
  std::vector<std::vector<double>> results;
  for (const int64_t micro_batch_size : {8, 2, 3, 0}) {
    Config config = tiny_config(folder.path(), "cut" + std::to_string(micro_batch_size));
    config.training.micro_batch_size = micro_batch_size;
    config.training.max_steps = 5;
    config.training.adam_epsilon = 1;
    config.training.learning_rate = 1;
    results.push_back(doubles(train_tiny(config).values));
    CHECK_CLOSE(results.back(), results[0], tolerance);
  }
  Config other = tiny_config(folder.path(), "other");  // what one sequence less does is far beyond the tolerance
  other.training.max_steps = 5;
  other.training.adam_epsilon = 1;
  other.training.learning_rate = 1;
  other.training.batch_size = 7;
  CHECK(relative_difference(doubles(train_tiny(other).values), results[0]) > 10 * tolerance);
}

TEST_CASE("trainer: the same bits at any number of threads, and with any evaluation, saving and log") {
  const TemporaryFolder folder(quick_place());
  for (const DType compute : {DType::f32, DType::bf16}) {
    Config config = tiny_config(folder.path(), std::string("plain_") + name_of(compute));
    config.training.recompute = compute == DType::bf16;
    const std::vector<float> expected = train_tiny(config, {}, compute).values;
    for (const int threads : {1, 2, 3}) {
      config.threads = threads;
      config.name = std::string(name_of(compute)) + std::to_string(threads);
      config.training.eval_every = threads;
      config.training.save_every = 2 * threads;
      config.training.log_every = 5 - threads;
      CHECK(train_tiny(config, {}, compute).values == expected);
    }
  }
}

TEST_CASE("trainer: early stopping keeps the best model and says why it stops") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  config.training.eval_every = 2;
  config.training.early_stopping_patience = 2;
  std::vector<double> losses{3, 2, 2.5, 2.4, 1, 1}, seen;
  std::vector<std::vector<float>> models;
  const Outcome outcome = train_tiny(config, [&](TinyTask& task) {
    task.measure = [&]() -> Metrics {
      models.push_back(task.values());
      return {{"loss", losses[models.size() - 1]}};
    };
  });
  CHECK(outcome.exit_code == 0);
  REQUIRE(models.size() == 4);  // worse than the second twice
  CHECK(outcome.values == models[3]);
  CHECK(outcome.printed.find("stopped early: 2 evaluations without a better loss") != std::string::npos);
  const std::string best = read_text(folder.path() / "run/best/parameters.bin");
  CHECK(best == std::string_view(reinterpret_cast<const char*>(models[1].data()), models[1].size() * sizeof(float)));
  // The run has finished, until its patience is raised.
  const std::string advice = "has finished, at step 8: raise training.early_stopping_patience";
  CHECK(train_tiny(config).printed.find(advice) != std::string::npos);
  config.training.early_stopping_patience = 3;
  CHECK(train_tiny(config, [](TinyTask& task) {
          task.measure = [] { return Metrics{{"loss", 1.0}}; };
        }).printed.find("eval at step 10  loss 1  (best)") != std::string::npos);
}

TEST_CASE("trainer: the metric that chooses, and its direction, can be named") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  config.training.eval_every = 4;
  config.training.best_metric = "accuracy";
  int evaluations = 0;
  const auto prepare = [&](TinyTask& task) {
    task.measure = [&] {
      return Metrics{{"loss", 1.0}, {"accuracy", std::vector{0.3, 0.5, 0.4}[static_cast<size_t>(evaluations++)]}};
    };
  };
  const std::string printed = train_tiny(config, prepare).printed;
  CHECK(printed.find("accuracy 0.5  (best)") != std::string::npos);
  CHECK(printed.find("accuracy 0.4  (best)") == std::string::npos);
  config.name = "other";
  config.training.best_metric = "f1";
  evaluations = 0;
  CHECK_THROWS_WITH_AS(train_tiny(config, prepare), doctest::Contains("it measures loss, accuracy"), UsageError);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "other"));  // known before the first step
}

TEST_CASE("trainer: where nothing is measured there are samples still, and no best model") {
  const TemporaryFolder folder(quick_place());
  const Config config = tiny_config(folder.path(), "run");
  const std::string printed =
      train_tiny(config, [](TinyTask& task) { task.measure = [] { return Metrics{}; }; }).printed;
  CHECK(read_text(folder.path() / "run/samples/step_12.txt") == "a sample\n");
  CHECK(printed.find("a sample\n") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "run/best"));
}

TEST_CASE("trainer: starting anew removes all that a training leaves, killed ones too, and nothing else") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config(folder.path(), "run");
  const std::filesystem::path run = folder.path() / "run";
  const std::vector<std::string> ours = {".state.old",        ".state.writing", ".best.old", ".last.writing",
                                         ".checkpoint-8.old", "checkpoint-4",   "samples/step_99.txt"};
  const std::vector<std::string> others = {"notes", ".old", ".other.old", "checkpoint-x"};
  for (const auto* names : {&ours, &others})
    for (const std::string& name : *names) std::filesystem::create_directories(run / name);
  config.resume = false;
  train_tiny(config);
  for (const std::string& name : ours) CHECK_FALSE_MESSAGE(std::filesystem::exists(run / name), name);
  for (const std::string& name : others) CHECK_MESSAGE(std::filesystem::exists(run / name), name);
}

TEST_CASE("trainer: a loss or gradient that is not finite names the step and changes no parameter") {
  const TemporaryFolder folder(quick_place());
  for (const float poison : {NAN, INFINITY, 1e30f}) {
    Config config = tiny_config(folder.path(), "run" + std::to_string(poison));
    config.training.save_every = 2;
    Options options;
    config.declare(options);
    OwnMachine own(DType::f32, size_t{1} << 30);
    TinyTask task(config, *own.ops);
    std::vector<float> before;
    task.before_step = [&](int64_t step) {
      if (step != 5) return;
      for (Parameter& p : task.parameters().all())
        if (p.name.find("qkv.weight") != std::string::npos) p.value.as<float>()[3] = poison;
      before = task.values();
    };
    std::string message;
    std::FILE* out = std::fopen("/dev/null", "w");
    try {
      train_task(config, options, task, own.machine, out);
    } catch (const Error& error) {
      message = error.what();
    }
    std::fclose(out);
    const std::vector<float> after = task.values();
    REQUIRE(after.size() == before.size());
    CHECK_MESSAGE(message.starts_with("step 6: the loss is "), message);
    CHECK(message.find("training.learning_rate") != std::string::npos);
    CHECK(std::equal(before.begin(), before.end(), after.begin(),
                     [](float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }));
  }
}

TEST_CASE("trainer: nothing is allocated in a step after the first ones") {
  // Counting goes from drawing step 3's batch to drawing step 6's, which covers the whole steps 3, 4 and 5.
  const std::string data = "[data]\nblock_size = 16\ntokenizer = \"characters\"\n";
  const std::string model_and_training = R"(
[model]
hidden_size = 32
num_layers = 2
num_heads = 2
max_positions = 64
dropout = 0.1
attention_dropout = 0.1
[training]
max_steps = 8
batch_size = 8
log_every = 100
eval_every = 0
save_every = 0
)";
  for (const DType compute : {DType::f32, DType::bf16}) {
    CAPTURE(std::string(name_of(compute)));
    {
      const TemporaryFolder folder(quick_place());
      Config config = tiny_config(folder.path(), name_of(compute));
      config.training.log_every = 100;
      allocations = 0;
      train_tiny(config, [](TinyTask& task) {
        task.before_step = [](int64_t step) { counting = step >= 3 && step < 6; };
      }, compute);
      counting = false;
      CHECK(allocations == 0);
    }
    TaskSettings gpt("task = \"gpt\"\n" + data + model_and_training + "[gpt]\nsamples = 0\n");
    std::string text;
    for (int i = 0; i < 40; ++i) text += "the rain in spain stays mainly in the plain\n";
    gpt.config.data.train = {gpt.write("a.txt", text)};
    CHECK(allocations_of(gpt, compute) == 0);
    TaskSettings scratchpad("task = \"scratchpad\"\n" + model_and_training +
                            "[scratchpad]\nmixture = [\"1:1\", \"2:2\", \"3:3\"]\neval_quantity = 4\n");
    CHECK(allocations_of(scratchpad, compute) == 0);
  }
  allocations = 0;
  counting = true;
  operator delete(operator new(4));
  operator delete(operator new(64, std::align_val_t{64}), std::align_val_t{64});
  counting = false;
  CHECK(allocations == 2);
}

TEST_CASE("trainer: folders that cannot be written, and runs without a name or an end") {
  const TemporaryFolder folder(quick_place());
  Config config = tiny_config("/proc/no_such_place", "run");
  CHECK_THROWS_WITH_AS(train_tiny(config), doctest::Contains("make the folder /proc/no_such_place"), Error);
  write_file(folder.path() / "file", "");
  config.output_dir = (folder.path() / "file").string();
  CHECK_THROWS_WITH_AS(train_tiny(config), doctest::Contains("Not a directory"), Error);
  config = tiny_config(folder.path(), "");
  CHECK_THROWS_AS(train_tiny(config), UsageError);
  config = tiny_config(folder.path(), "run");
  config.training.max_steps = 0;
  CHECK_THROWS_AS(train_tiny(config), UsageError);
  config.training.max_steps = 2;
  const TrainingFolder other(folder.path() / "run", Communicator());
  CHECK_THROWS_WITH_AS(train_tiny(config), doctest::Contains("another process trains in"), Error);
}

}  // namespace engine::test::test_trainer
