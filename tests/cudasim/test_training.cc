// How often the host waits for the device in trainings and generations, and how often it captures.
#include "kernels/backend/cuda_backend.h"
#include "models/generation.h"
#include "tests/cudasim/stream.h"
#include "tests/operation.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_training {

namespace {

constexpr int64_t first = 3, last = 23;  // steps, from 0, between which the host is watched

Config small_config(const TemporaryFolder& folder, const std::string& name) {
  Config config = tiny_config(folder.path(), name);
  config.model.num_layers = 1;
  config.model.hidden_size = 16;
  config.training.batch_size = 2;
  config.training.max_steps = last + 1;
  config.training.log_every = 100;
  return config;
}

cudasim::HostCounts difference(const cudasim::HostCounts& after, const cudasim::HostCounts& before) {
  return {after.idle_waits - before.idle_waits, after.busy_waits - before.busy_waits, after.captures - before.captures,
          after.launches - before.launches};
}

struct Watched {
  cudasim::HostCounts counts;
  std::vector<float> values;
};

// Trains with batches of one shape where `one_shape` says so.
Watched train(const Config& config, bool one_shape, bool synchronous = false) {
  Options options;
  Config declared = config;
  declared.declare(options);
  const std::unique_ptr<Ops> ops = cuda::make_cuda_ops({.synchronous = synchronous});
  Arena arena(ops->memory(), size_t{1} << 30);
  Communicator ranks;
  Machine machine{*ops, arena, DType::f32, ranks};
  TinyTask task(config, *ops);
  Watched watched;
  SequenceBatch shape;
  task.change_batch = [&](int64_t step, SequenceBatch& batch) {
    if (step == first) watched.counts = cudasim::host_counts();
    if (step == last) watched.counts = difference(cudasim::host_counts(), watched.counts);
    if (step == 0) shape = batch;
    if (!one_shape) return;
    batch = shape;
    batch.tokens[0] = static_cast<int32_t>(step);
  };
  std::FILE* out = std::fopen("/dev/null", "w");
  train_task(config, options, task, machine, out);
  std::fclose(out);
  watched.values = task.values();
  return watched;
}

}  // namespace

// A wait a step, for the results of the step before, keeps the host from running further ahead.
TEST_CASE("simulated device: a training waits once a step, and leaves the device without work less than once in ten") {
  const TemporaryFolder folder(quick_place());
  Config config = small_config(folder, "run");
  const cudasim::HostCounts late = train(config, false).counts;
  CHECK(late.idle_waits < (last - first) / 10);
  CHECK(late.idle_waits + late.busy_waits == last - first);
  config.name = "logged";
  config.training.log_every = 1;
  CHECK(train(config, false).counts.idle_waits >= last - first);
}

TEST_CASE("simulated device: steps of one shape are captured once, and have the bits of steps that are not captured") {
  const TemporaryFolder folder(quick_place());
  const Watched replayed = train(small_config(folder, "run"), true);
  CHECK(replayed.counts.captures == 0);
  CHECK(replayed.counts.launches == 2 * (last - first));
  const Watched plain = train(small_config(folder, "plain"), true, /*synchronous=*/true);
  CHECK(plain.counts.launches == 0);
  CHECK(replayed.values == plain.values);
}

TEST_CASE("simulated device: a generated token is one graph that is launched, and one wait") {
  ModelConfig model_config = tiny_config("", "").model;
  model_config.max_positions = 40;
  std::array<std::vector<int32_t>, 2> texts;
  for (const bool synchronous : {false, true}) {
    const std::unique_ptr<Ops> ops = cuda::make_cuda_ops({.synchronous = synchronous});
    const std::unique_ptr<Model> model = make_model(model_config);
    model->parameters().allocate(ops->memory(), false);
    model->parameters().initialise(5);
    Generator generator(*ops, *model, DType::f32);
    cudasim::HostCounts before, after;
    int64_t tokens = 0;
    const std::vector<std::vector<int32_t>> prompts{{3, 1, 4, 1, 5}};
    texts[synchronous] = generator.generate(prompts, {.temperature = 1, .max_new_tokens = 30}, [&](size_t, int32_t) {
      ++tokens;
      if (tokens == 4) before = cudasim::host_counts();
      if (tokens == 24) after = cudasim::host_counts();
    })[0];
    const cudasim::HostCounts counts = difference(after, before);
    if (synchronous) continue;
    CHECK(counts.captures == 0);
    CHECK(counts.launches == 20);
    CHECK(counts.idle_waits == 20);
  }
  CHECK(texts[0].size() == 30);
  CHECK(texts[0] == texts[1]);
}

}  // namespace engine::test::test_training
