// BART against transformers (golden/make_bart.py), with every kind of positions, and what every architecture owes.
#include <cmath>

#include "models/huggingface.h"
#include "tests/model_checks.h"
#include "tests/temporary.h"

namespace engine::test {

namespace fs = std::filesystem;

namespace {

const fs::path golden_folder = "tests/golden/bart";

// check(run, golden) of every golden model, with gradients, on every backend.
void on_every_model(const std::function<void(const ModelRun&, const Golden&)>& check) {
  on_every_backend([&](Bench& bench) {
    for (const std::string name : {"plain", "scaled"}) {
      CAPTURE(name);
      const Golden golden{golden_folder / name};
      const auto model = load_causal_model(golden.folder / "model", bench.arena.memory(), true);
      check({bench, *model}, golden);
    }
  });
}

// The golden model with other positions: as it is, but for tables that it then lacks.
std::unique_ptr<CausalModel> model_with(Bench& bench, Positions positions) {
  const auto golden = load_causal_model(golden_folder / "plain" / "model", bench.arena.memory(), false);
  ModelConfig config = golden->config();
  config.positions = positions;
  config.attention_dropout = 0.1f;
  auto model = make_causal_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  for (Parameter& p : model->parameters().all())
    bench.ops.copy({.x = golden->parameters().at(p.name).value, .y = p.value});
  return model;
}

}  // namespace

TEST_CASE("bart: logits, loss, every gradient and three AdamW steps are those of transformers") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    CHECK_CLOSE(run.hidden(golden.batch()), golden.numbers("hidden"), golden.tolerance(run.bench.compute, "hidden"));
    check_golden(run, golden, [&](const std::string& folder) {
      const auto model = load_causal_model(golden.folder / folder, run.bench.arena.memory(), false);
      std::map<std::string, std::vector<double>> result;
      for (const Parameter& p : model->parameters().all()) result[p.name] = run.bench.values(p.value);
      return result;
    });
  });
}

TEST_CASE("bart: sequences packed into one row give the same as one at a time") { on_every_model(check_packing); }

TEST_CASE("bart: recomputation gives the same bits, with dropout too") {
  on_every_model([](const ModelRun& run, const Golden& golden) { check_recomputation(run, golden.batch()); });
}

TEST_CASE("bart: the same bits at any number of threads, and where nothing is kept or weights are packed") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    check_threads(run, golden.batch());
    const std::vector<double> logits = run.logits(golden.batch());
    CHECK(same_bits(run.logits(golden.batch(), /*keeps=*/false), logits));
    run.model.parameters().pack(run.bench.ops, run.bench.compute);
    CHECK_CLOSE(run.logits(golden.batch(), /*keeps=*/false), logits, golden.tolerance(run.bench.compute, "logits"));
  });
}

TEST_CASE("bart: gradients are derivatives of the loss, by finite differences, without and with dropout") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    if (run.bench.compute == DType::f32) check_derivatives(run, golden.batch());
  });
}

TEST_CASE("bart: saved and loaded again it has the same bits") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    const TemporaryFolder folder;
    save_model(folder.path(), run.model);
    const auto loaded = load_causal_model(folder.path(), run.bench.arena.memory(), false);
    const ModelRun again{run.bench, *loaded};
    CHECK(same_bits(again.all(&Parameter::value), run.all(&Parameter::value)));
    CHECK(same_bits(again.logits(golden.batch()), run.logits(golden.batch())));
  });
}

TEST_CASE("bart: sinusoidal positions and none: packing, recomputation, threads, derivatives, saving") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder / "plain"};  // of the same sizes: its batch and its tolerances
    for (const Positions positions : {Positions::sinusoidal, Positions::none}) {
      CAPTURE(static_cast<int>(positions));
      const auto model = model_with(bench, positions);
      const ModelRun run{bench, *model};
      check_packing(run, golden);
      check_recomputation(run, golden.batch());
      check_threads(run, golden.batch());
      if (bench.compute == DType::f32) check_derivatives(run, golden.batch());
      const TemporaryFolder folder;
      save_model(folder.path(), *model);
      const auto loaded = load_causal_model(folder.path(), bench.arena.memory(), false);
      CHECK(loaded->config().positions == positions);
      CHECK(same_bits(ModelRun(bench, *loaded).logits(golden.batch()), run.logits(golden.batch())));
    }
  });
}

TEST_CASE("bart: sinusoidal positions are sines, then cosines; without any the order of a source does not matter") {
  on_every_backend([](Bench& bench) {
    const Batch batch{{3, 9, 4}, {0, 3}, {}, {}, {5, 6, 7, 8}, {0, 4}};
    Batch turned = batch;
    turned.sources = {8, 6, 5, 7};
    const double tolerance = 40 * epsilon_of(bench.compute);  // the same sums in another order
    const auto none = model_with(bench, Positions::none);
    CHECK_CLOSE(ModelRun(bench, *none).logits(turned), ModelRun(bench, *none).logits(batch), tolerance);
    const auto sinusoidal = model_with(bench, Positions::sinusoidal);
    const ModelRun run{bench, *sinusoidal};
    CHECK(run.logits(turned) != run.logits(batch));
    // Without any weights but gains the decoder's hidden states are the normalised positions.
    for (Parameter& p : sinusoidal->parameters().all()) {
      sinusoidal->parameters().initialise(p, 1);
      if (p.initial.kind != Initial::Kind::constant) bench.arena.memory().zero(p.value.data, p.value.bytes());
    }
    std::vector<double> expected;
    for (int t = 0; t < 3; ++t) {
      std::vector<double> row;
      for (int i = 0; i < 20; ++i) {
        const double angle = t / std::pow(10000.0, 2 * (i % 10) / 20.0);
        row.push_back(i < 10 ? std::sin(angle) : std::cos(angle));
      }
      double square = 0;
      const double center = mean(row);
      for (double& x : row) square += (x - center) * (x - center);
      for (double x : row) expected.push_back((x - center) / std::sqrt(square / 20));
    }
    // A layernorm of what is normalised already changes it by its epsilon, and there are ten of them.
    CHECK_CLOSE(run.hidden(batch), expected, 10 * 1e-5 / 0.05 + tolerance);
  });
}

TEST_CASE("bart: a pass without a source is an error") {
  on_every_backend([](Bench& bench) {
    const auto model = model_with(bench, Positions::learned);
    CHECK_THROWS_WITH_AS(ModelRun(bench, *model).logits({{3, 9}, {0, 2}}), doctest::Contains("no source"), Error);
  });
}

}  // namespace engine::test
