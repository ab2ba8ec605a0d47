// Profiles of a small training: their sums, FLOPs, layers and phases; and that nothing else changes.
#include "training/profile.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "kernels/backend/timed_backend.h"
#include "tests/temporary.h"
#include "tests/training_task.h"

namespace engine::test::test_profile {

namespace {

// A task, profiled.
struct Profiled {
  OwnMachine own;
  StepRecorder recorder;
  std::unique_ptr<Ops> ops;
  TinyTask task;
  std::vector<ProfiledStep> steps;
  Profile profile;

  explicit Profiled(const Config& config, const std::string& device = "cpu")
      : own(DType::f32, size_t{1} << 30, device),
        recorder(stopwatch_of(*own.ops)),
        ops(make_record_ops(*own.ops, recorder)),
        task(config, *ops),
        config_(config) {}

  void run(int64_t count) {
    const ThreadScope threads(1);
    Machine machine{*ops, own.arena, DType::f32, own.ranks};
    profile = profile_task(config_, task, machine, recorder, count, steps);
  }

 private:
  Config config_;
};

Config small() { return tiny_config("", "profile"); }

const LayerProfile& layer_named(const Profile& profile, const std::string& name) {
  for (const LayerProfile& layer : profile.layers)
    if (layer.name == name) return layer;
  fail("no layer ", name);
}

double seconds_of(const std::vector<ProfiledCall>& calls) {
  return std::accumulate(calls.begin(), calls.end(), 0.0,
                         [](double sum, const ProfiledCall& call) { return sum + call.seconds; });
}

}  // namespace

TEST_CASE("profile: phases are a step's time, operations nearly all of it") {
  Config config = small();
  config.model.hidden_size = 128;
  config.training.batch_size = 32;
  Profiled profiled(config);
  std::vector<double> begins;  // of the data of each step
  profiled.task.before_step = [&](int64_t) { begins.push_back(steady_seconds()); };
  profiled.run(6);
  REQUIRE(profiled.steps.size() == 6);
  // A busy machine may stop the process between operations, or between steps, but hardly in every step.
  double nearest = 1, most = 0;
  for (size_t i = 0; i < profiled.steps.size(); ++i) {
    const ProfiledStep& step = profiled.steps[i];
    double phases = 0;
    for (const PhaseSpan& span : step.phases) {
      CHECK(span.begin == doctest::Approx(phases));
      phases += span.seconds;
    }
    CHECK(phases == doctest::Approx(step.seconds));
    CHECK(seconds_of(step.calls) <= step.seconds);
    most = std::max(most, seconds_of(step.calls) / step.seconds);
    const size_t number = 3 + 2 * i + 1;  // behind the warm-up, each second one
    if (number + 1 < begins.size())
      nearest = std::min(nearest, std::abs((begins[number + 1] - begins[number]) / step.seconds - 1));
  }
  CHECK(most > 0.95);
  CHECK(nearest < 0.05);
  const Profile& profile = profiled.profile;
  double phases = 0, layers = 0;
  for (const PhaseProfile& phase : profile.phases) phases += phase.seconds;
  for (const LayerProfile& layer : profile.layers) layers += layer.total();
  CHECK(phases == doctest::Approx(profile.seconds));
  CHECK(layers == doctest::Approx(profile.operation_seconds()));
  for (const Phase phase : {Phase::data, Phase::forward, Phase::loss, Phase::backward, Phase::update})
    CHECK(profile.phases[static_cast<size_t>(phase)].seconds > 0);
  CHECK(profile.phases[static_cast<size_t>(Phase::communication)].seconds == 0);  // of one rank
  CHECK(profile.peaks.f32 > 0);
  CHECK(profile.peaks.bf16 > 0);
  CHECK(profile.peaks.bytes_per_second > 0);
}

TEST_CASE("profile: FLOPs of a GPT-2's step are those of the formula, on every device") {
  for (const std::string& device : devices()) {
    CAPTURE(device);
    Config config = small();
    config.device = device;
    Profiled profiled(config, device);
    double formula = 0;
    constexpr int64_t steps = 2, first = 3;
    profiled.task.change_batch = [&](int64_t step, const SequenceBatch& batch) {
      if (step < first || (step - first) % 2 == 0) return;  // not recorded
      const double width = 32, layers = 2, vocabulary = 27;
      double pairs = 0;
      for (size_t s = 0; s + 1 < batch.offsets.size(); ++s) {
        const double length = batch.offsets[s + 1] - batch.offsets[s];
        pairs += length * (length + 1) / 2;
      }
      // Each of the 12 C^2 weights of a layer is multiplied three times a token; attention has 2 products of C forward
      // and 5 backward for each pair of a query and a key that it sees.
      formula += layers * (6 * static_cast<double>(batch.tokens.size()) * 12 * width * width + 14 * width * pairs) +
                 6 * batch.weight() * width * vocabulary;
    };
    profiled.run(steps);
    CHECK(profiled.profile.flops() == doctest::Approx(formula / steps).epsilon(1e-12));
    CHECK(profiled.profile.device == device);
  }
}

TEST_CASE("profile: operations stand under their layers, phases and parameters") {
  Config config = small();
  config.training.micro_batch_size = 4;  // two passes a step
  Profiled profiled(config);
  profiled.run(2);
  const Profile& profile = profiled.profile;
  std::vector<std::string> names;
  for (const LayerProfile& layer : profile.layers) names.push_back(layer.name);
  CHECK(names == std::vector<std::string>{"embedding", "layers.0", "layers.1", "final_norm", "head", "update"});
  CHECK(layer_named(profile, "layers.0").calls == layer_named(profile, "layers.1").calls);
  CHECK(layer_named(profile, "layers.0").flops == layer_named(profile, "layers.1").flops);
  CHECK(layer_named(profile, "embedding").calls == 4);
  const auto calls = [&](const std::string& operation, const std::string& part, Phase phase) {
    double sum = 0;
    for (const OperationProfile& o : profile.operations)
      if (o.operation == operation && o.part == part && o.phase == phase) sum += o.calls;
    return sum;
  };
  CHECK(calls("matmul", "attention.qkv.weight", Phase::forward) == 4);  // two layers, two passes
  CHECK(calls("matmul", "attention.qkv.weight", Phase::backward) == 4);
  CHECK(calls("matmul", "d attention.qkv.weight", Phase::backward) == 4);
  CHECK(calls("attention_forward", "", Phase::forward) == 4);
  CHECK(calls("attention_backward", "", Phase::backward) == 4);
  CHECK(calls("cross_entropy", "embedding.tokens", Phase::loss) == 2);
  CHECK(calls("embedding_forward", "embedding.tokens", Phase::forward) == 2);
  CHECK(calls("adamw", "", Phase::update) == 1);
  // Lengths are drawn, so that the number of tokens is a range.
  for (const OperationProfile& o : profile.operations)
    if (o.part == "attention.qkv.weight" && o.phase == Phase::forward) {
      CHECK(o.shapes.find("..") != std::string::npos);
      CHECK(o.shapes.find("b [96, 32] f32") != std::string::npos);
    }
  // The backward pass has what it recomputes.
  config.training.recompute = true;
  Profiled recomputed(config);
  recomputed.run(2);
  double forward = 0, backward = 0;
  for (const OperationProfile& o : recomputed.profile.operations)
    if (o.operation == "attention_forward") (o.phase == Phase::forward ? forward : backward) += o.calls;
  CHECK(forward == 4);
  CHECK(backward == 4);
}

TEST_CASE("profile: memory is told by its use") {
  Profiled profiled(small());
  profiled.run(1);
  const auto bytes = [&](const std::string& name) {
    for (const MemoryUse& use : profiled.profile.memory)
      if (use.name == name) return use.bytes;
    fail("no memory ", name);
  };
  const auto weights = static_cast<size_t>(profiled.task.parameters().count()) * sizeof(float);
  CHECK(bytes("weights") == weights);
  CHECK(bytes("gradients") == weights);
  CHECK(bytes("moments") == 2 * weights);
  CHECK(bytes("averages") == 0);
  CHECK(bytes("activations") == profiled.own.arena.peak());
  size_t sum = 0;
  for (const MemoryUse& use : profiled.profile.memory) sum += use.bytes;
  CHECK(sum == profiled.profile.peak_memory);
}

TEST_CASE("profile: its steps are the training's, to the bit") {
  Config config = small();
  config.training.swa_start = 2;
  config.training.swa_every = 1;
  config.training.lookahead_every = 3;
  Profiled profiled(config);
  profiled.run(3);  // 9 steps with the others
  config.training.max_steps = 12;
  std::vector<float> values;
  const TemporaryFolder folder(quick_place());
  config.output_dir = folder.path().string();
  train_tiny(config, [&](TinyTask& task) {
    task.before_step = [&](int64_t step) {
      if (step == 9) values = task.values();
    };
  });
  CHECK(profiled.task.values() == values);
}

TEST_CASE("profile: a recorder that is off sees no operation") {
  struct Off final : CallObserver {
    bool is_on() const override { return false; }
    size_t place_of(const Tensor&) const override { fail("asked for a place"); }
    void before(const RecordedCall&) override { fail("told of a call"); }
    void after() override { fail("told of a call's end"); }
  } off;
  for (const std::string& device : devices()) {
    const std::unique_ptr<Ops> inner = make_ops(device), ops = make_record_ops(*inner, off);
    Arena arena(ops->memory(), 1 << 20);
    const Tensor x = arena.make_zeros(DType::f32, {8}), y = arena.make(DType::f32, {8});
    ops->run_captured(1, [&] { ops->copy({.x = x, .y = y}); });
    float values[8];
    ops->memory().copy_out(values, y.data, sizeof values);
    CHECK(values[7] == 0);
    CHECK(&ops->memory() == &inner->memory());
  }
}

TEST_CASE("profile: a loss that is not finite ends it") {
  Profiled profiled(small());
  profiled.task.before_step = [&](int64_t step) {
    Parameter& parameter = profiled.task.parameters().all().front();
    const float infinite = INFINITY;
    if (step == 4) profiled.task.parameters().write(parameter, 0, 1, &infinite);
  };
  CHECK_THROWS_WITH_AS(profiled.run(2), doctest::Contains("step 5: the loss is "), Error);
}

}  // namespace engine::test::test_profile
