#include <map>

#include "models/architectures.h"
#include "models/layers.h"
#include "tests/model_run.h"
#include "tests/operation.h"
#include "training/optimizer.h"

namespace engine::test::test_gradients {

// Updates leave a linear layer's gradient on the host as it is. Later passes must neither add to it nor count it.
TEST_CASE("optimizer: a linear layer's gradient of the step before counts as 0, whether it is written again or not") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Parameters table;
  const Linear linear(table, "layer", 5, 6, Initial::ones());
  table.allocate(ops->memory(), /*with_gradients=*/true);
  table.initialise(1);
  const TrainingConfig config;
  Optimizer optimizer(*ops, table, config, DType::f32);
  Arena arena(ops->memory(), size_t{1} << 26);
  Bench bench{*ops, arena, DType::f32};
  const Tensor x = bench.normal(DType::f32, {7, 5}), dy = bench.normal(DType::f32, {7, 6});
  const Run run{.ops = *ops, .arena = arena, .compute = DType::f32, .gradients = &table.gradients()};
  int64_t step = 0;
  // Returns the norm after some runs of the layer, or of two parts of it, whose gradients depend on x and dy alone.
  const auto norm_of = [&](int runs, bool in_parts) {
    for (int i = 0; i < runs; ++i) {
      if (!in_parts) {
        linear.backward(run, dy, x, {});
        continue;
      }
      linear.part(0, 2).backward(run, bench.from(DType::f32, {7, 2}, std::vector<double>(14, 1.0)), x, {});
      linear.part(2, 4).backward(run, bench.from(DType::f32, {7, 4}, std::vector<double>(28, 1.0)), x, {});
    }
    optimizer.clip_and_measure_norm();
    const float norm = optimizer.gradient_norm();
    optimizer.update(1e-3f, ++step);
    return norm;
  };
  const float whole = norm_of(1, false), parts = norm_of(1, true);
  CHECK(whole > 0);
  CHECK(norm_of(0, false) == 0);
  CHECK(norm_of(1, false) == whole);
  CHECK(norm_of(1, true) == parts);
  CHECK(std::abs(norm_of(2, false) - 2 * whole) <= 1e-5f * whole);
  CHECK(norm_of(1, false) == whole);
}

TEST_CASE("gradients: parameters are complete from the end of the table on, each once, whatever is done first") {
  Parameters table;
  for (const char* name : {"a", "b", "c", "d", "e"}) table.add(name, {2}, Initial::zeros());
  table.allocate(host_memory(), /*with_gradients=*/true);
  Gradients& gradients = table.gradients();
  std::string complete;
  const auto expect = [&] {
    complete.clear();
    gradients.expect([&](const Parameter& p) { complete += p.name; });
  };
  expect();
  gradients.done({1, 3});
  CHECK(complete == "");
  gradients.done({4, 5});
  CHECK(complete == "e");
  gradients.done({3, 4});
  CHECK(complete == "edcb");
  gradients.finish();
  CHECK(complete == "edcba");
  gradients.done({0, 5});  // no one waits any more
  CHECK(complete == "edcba");
  // A rank without a sequence runs no backward pass. Its gradients are complete in the same order.
  expect();
  gradients.finish();
  CHECK(complete == "edcba");
}

TEST_CASE("gradients: a table whose lookups are apart is complete first, on a rank without a pass, too") {
  Parameters table;
  for (const char* name : {"a", "b", "c"}) table.add(name, {2}, Initial::zeros());
  table.allocate(host_memory(), /*with_gradients=*/true);
  Gradients& gradients = table.gradients();
  const Parameter& tied = table.at("b");
  std::vector<float> numbers(2);
  const Tensor lookups{numbers.data(), DType::f32, {2}};
  gradients.set_apart(tied, lookups);
  const auto is_apart = [&] { return gradients.lookup(tied).data == lookups.data; };
  std::string complete;
  const auto expect = [&] {
    complete.clear();
    gradients.expect([&](const Parameter& p) { complete += p.name; });
  };
  for (const bool apart : {true, false}) {
    CAPTURE(apart);
    gradients.keep_apart(apart);
    CHECK_FALSE(is_apart());  // before the last pass
    expect();
    CHECK(is_apart() == apart);
    gradients.scored(tied);
    gradients.scored(tied);
    CHECK(complete == (apart ? "b" : ""));
    gradients.done({2, 3});
    CHECK(is_apart() == apart);
    gradients.done({0, 2});
    CHECK(complete == (apart ? "bca" : "cba"));
    gradients.finish();
    CHECK_FALSE(is_apart());
    expect();
    gradients.finish();
    CHECK(complete == (apart ? "bca" : "cba"));
  }
  // The order would depend on the rank.
  gradients.keep_apart(true);
  expect();
  gradients.done({2, 3});
  CHECK_THROWS_WITH_AS(gradients.scored(tied), "b is scored after another gradient is complete", Error);
}

TEST_CASE("gradients: a backward pass is done with every parameter exactly when nothing more is added to it") {
  for (const char* architecture : {"gpt2", "bert", "distilbert", "sinusoidal_encoder", "bart"}) {
    CAPTURE(architecture);
    const std::unique_ptr<Ops> ops = make_cpu_ops();
    Arena arena(ops->memory(), size_t{1} << 28);
    Bench bench{*ops, arena, DType::f32};
    ModelConfig config = open_model();
    config.architecture = architecture;
    config.hidden_size = 16, config.num_layers = 2, config.num_heads = 2, config.vocab_size = 11;
    config.max_positions = 8;
    const bool is_encoder = architecture_of(config).kind == ModelKind::encoder;
    if (is_encoder) config.head = HeadKind::masked;
    const auto model = make_model(config);
    model->parameters().allocate(ops->memory(), true);
    model->parameters().initialise(3);
    Batch batch{.tokens = {1, 2, 3, 4, 5}, .offsets = {0, 2, 5}, .labels = {1, -100, 0, -100, 7}};
    if (reads_source(*model)) batch.sources = {6, 7, 8}, batch.source_offsets = {0, 1, 3};
    const ModelRun run{bench, *model};
    Gradients& gradients = model->parameters().gradients();
    std::map<std::string, std::vector<double>> when_complete;
    gradients.expect([&](const Parameter& p) { when_complete[p.name] = run.gradient(p); });
    run.losses(batch);
    CHECK(when_complete.size() == model->parameters().size());  // without finish()
    for (const Parameter& p : model->parameters().all()) {
      CAPTURE(p.name);
      CHECK(when_complete[p.name] == run.gradient(p));
    }
    gradients.finish();
  }
}

TEST_CASE("dropout: a site's mask is a function of its name, so that a new layer shifts no other") {
  Parameters one, other;
  const DropoutSite first = one.add_dropout("layers.0.attention", 0.1f);
  other.add_dropout("layers.0.new_part", 0.2f);
  CHECK(other.add_dropout("layers.0.attention", 0.1f).site == first.site);
  CHECK(one.add_dropout("layers.1.attention", 0.1f).site != first.site);
  CHECK_THROWS_WITH_AS(one.add_dropout("layers.0.attention", 0.1f), doctest::Contains("layers.0.attention"), Error);
}

}  // namespace engine::test::test_gradients
