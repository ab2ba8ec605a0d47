// BART matches transformers (golden/make_bart.py), with every kind of positions, and passes every architecture's
// checks.
#include <cmath>

#include "kernels/observe/count_ops.h"
#include "models/bart.h"
#include "models/positions.h"
#include "models/beam_search.h"
#include "models/huggingface.h"
#include "tests/cached_checks.h"
#include "tests/temporary.h"

namespace engine::test::test_bart {

namespace fs = std::filesystem;

namespace {

const fs::path golden_folder = "tests/golden/bart";

// Calls check(run, golden) for every golden model, with gradients, on every backend. On a simulated device, which is
// slow, it takes one model where that is enough.
void on_every_model(const std::function<void(const ModelRun&, const Golden&)>& check, bool one_on_device = false) {
  on_every_backend([&](Bench& bench) {
    for (const std::string name : {"plain", "scaled", "untied"}) {
      if (one_on_device && bench.is_device && name != "plain") continue;
      CAPTURE(name);
      const Golden golden{golden_folder / name};
      const auto model = load_model(golden.folder / "model", bench.arena.memory(), true, {.kinds = generating_kinds});
      check({bench, *model}, golden);
    }
  });
}

// Returns the golden model with other positions, without the tables that it then lacks.
std::unique_ptr<Model> model_with(Bench& bench, const std::string& positions) {
  const auto golden = load_model(golden_folder / "plain" / "model", bench.arena.memory(), false);
  ModelConfig config = golden->config();
  config.own.get<PositionOptions>().positions = positions;
  config.attention_dropout = 0.1f;
  config.own.get<BartOptions>().activation_dropout = 0.2f;
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  for (Parameter& p : model->parameters().all())
    bench.ops.copy({.x = golden->parameters().at(p.name).value, .y = p.value});
  return model;
}

// Repeats the golden sources, with as many prompts of the start token.
struct Prompts {
  Texts sources, prompts;

  explicit Prompts(const Golden& golden, int times = 1) {
    const Texts all = texts_of(golden.integers("sources"), golden.integers("source_offsets"));
    for (int i = 0; i < times; ++i) sources.insert(sources.end(), all.begin(), all.end());
    prompts.assign(sources.size(), {3});
  }
};

// These are the settings in make_bart.py.
const std::vector<std::pair<std::string, GenerationOptions>> generated{
    {"greedy", {}},
    {"greedy_forced", {.first_token = 7, .last_token = 2}},
    {"beams", {.beams = 4}},
    {"beams_two", {.beams = 2}},
    {"beams_early", {.beams = 3, .length_penalty = 2, .early_stopping = true}},
    {"beams_forced", {.first_token = 7, .last_token = 2, .beams = 4, .length_penalty = 0.5f}}};

}  // namespace

TEST_CASE("bart: logits, loss, every gradient and three AdamW steps are those of transformers") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    CHECK_CLOSE(run.hidden(golden.batch()), golden.numbers("hidden"), golden.tolerance(run.bench.compute, "hidden"));
    check_golden(run, golden, [&](const std::string& folder) {
      return values_by_name(run.bench, *load_model(golden.folder / folder, run.bench.arena.memory(), false));
    });
  });
}

TEST_CASE("bart: sequences packed into one row give the same as one at a time") {
  on_every_model(check_packing, /*one_on_device=*/true);
}

TEST_CASE("bart: output rows alone are the same as among all rows") {
  on_every_model(check_output_rows, /*one_on_device=*/true);
}

TEST_CASE("bart: the decoder's last layer computes keys and values alone of rows that are no output rows") {
  std::vector<OperationCount> counts;
  const std::unique_ptr<Ops> ops = make_count_ops(counts);
  Arena arena{host_memory()};
  Bench bench{*ops, arena, DType::f32};
  const auto model = model_with(bench, "learned");
  const Batch batch = Golden{golden_folder / "plain"}.batch();
  const auto flops_of_products = [&](bool alone) {
    counts.clear();
    ModelRun(bench, *model).losses(batch, {.outputs_alone = alone});
    double sum = 0;
    for (const OperationCount& count : counts)
      if (count.name == "matmul") sum += static_cast<double>(count.calls) * count.flops;
    return sum;
  };
  // Counts queries and outputs of two attentions, and a feed-forward, 20 to 33 and back. Each has a forward product and
  // two for the gradients of its input and its weights.
  const double rows = static_cast<double>(batch.tokens.size()) - batch.scored();
  CHECK(flops_of_products(false) - flops_of_products(true) == rows * 3 * 2 * (4 * 20 * 20 + 2 * 20 * 33));
}

TEST_CASE("bart: recomputation gives the same bits, with dropout too") {
  const auto check = [](const ModelRun& run, const Golden& golden) { check_recomputation(run, golden.batch()); };
  on_every_model(check, /*one_on_device=*/true);
}

TEST_CASE("bart: the same bits at any number of threads, and where nothing is kept or weights are packed") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    check_threads(run, golden.batch());
    const std::vector<double> logits = run.logits(golden.batch());
    CHECK(same_bits(run.logits(golden.batch(), /*keeps=*/false), logits));
    run.model.parameters().pack(run.bench.ops, run.bench.compute);
    CHECK_CLOSE(run.logits(golden.batch(), /*keeps=*/false), logits, golden.tolerance(run.bench.compute, "logits"));
  }, /*one_on_device=*/true);
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
    const auto loaded = load_model(folder.path(), run.bench.arena.memory(), false, {.kinds = generating_kinds});
    const ModelRun again{run.bench, *loaded};
    CHECK(same_bits(again.values(), run.values()));
    CHECK(same_bits(again.logits(golden.batch()), run.logits(golden.batch())));
  });
}

TEST_CASE("bart: sinusoidal positions and none: packing, recomputation, threads, derivatives, saving") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder / "plain"};  // has the same sizes, and gives batch and tolerances
    for (const std::string positions : {"sinusoidal", "none"}) {
      CAPTURE(positions);
      const auto model = model_with(bench, positions);
      const ModelRun run{bench, *model};
      if (!bench.is_device) {  // a table more or less is the same code on a device
        check_packing(run, golden);
        check_output_rows(run, golden);
        check_recomputation(run, golden.batch());
        check_threads(run, golden.batch());
      }
      if (bench.compute == DType::f32) check_derivatives(run, golden.batch());
      const TemporaryFolder folder;
      save_model(folder.path(), *model);
      const auto loaded = load_model(folder.path(), bench.arena.memory(), false, {.kinds = generating_kinds});
      CHECK(loaded->config().own.get<PositionOptions>().positions == positions);
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
    const auto none = model_with(bench, "none");
    CHECK_CLOSE(ModelRun(bench, *none).logits(turned), ModelRun(bench, *none).logits(batch), tolerance);
    const auto sinusoidal = model_with(bench, "sinusoidal");
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
    // A layernorm of normalised rows changes them by its epsilon, and there are ten of them.
    CHECK_CLOSE(run.hidden(batch), expected, 10 * 1e-5 / 0.05 + tolerance);
  });
}

TEST_CASE("bart: greedy and beam texts are those of transformers, whatever runs beside them") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    if (run.bench.compute != DType::f32) return;  // in bf16 two logits may round to one
    auto& model = dynamic_cast<Model&>(run.model);
    const Prompts one(golden), three(golden, 3);
    for (auto [name, options] : generated) {
      CAPTURE(name);
      options.max_new_tokens = 12;
      options.end_tokens = {2};
      const Texts expected = texts_of(golden.integers(name + ".tokens"), golden.integers(name + ".offsets"));
      Texts thrice = expected;
      for (int i = 0; i < 2; ++i) thrice.insert(thrice.end(), expected.begin(), expected.end());
      // A simulated device must match the texts, and the CPU shows that they are independent.
      if (run.bench.is_device && (name != "beams" || golden.folder.filename() != "plain")) continue;
      for (int together : run.bench.is_device ? std::vector{8} : std::vector{1, 3, 8, 64}) {
        CAPTURE(together);
        Generator generator(run.bench.ops, model, run.bench.compute, together);
        CHECK(generator.generate(one.prompts, one.sources, options) == expected);
        if (run.bench.is_device) continue;
        CHECK(generator.generate(three.prompts, three.sources, options) == thrice);
      }
      if (options.beams == 1 || run.bench.is_device) continue;
      CachedDecoder decoder(run.bench.ops, model, run.bench.compute);
      std::vector<double> scores;
      for (const BeamResult& result : beam_search(decoder, one.prompts, one.sources, options, 8))
        scores.push_back(static_cast<double>(result.score));
      const Safetensors::Entry& entry = golden.values.at(name + ".scores");
      std::vector<double> expected_scores(static_cast<size_t>(entry.count()));
      REQUIRE(entry.bytes == expected_scores.size() * sizeof(double));
      std::memcpy(expected_scores.data(), entry.data, entry.bytes);
      // A score is a mean of log probabilities, which move by at most twice the largest change of a logit.
      double largest = 0;
      for (double logit : golden.numbers("logits")) largest = std::max(largest, std::abs(logit));
      const double allowed = 24 * golden.tolerance(DType::f32, "logits") * largest;
      for (size_t i = 0; i < scores.size(); ++i) CHECK(std::abs(scores[i] - expected_scores[i]) <= allowed);
    }
  });
}

TEST_CASE("bart: a cached pass gives the logits of an uncached one, with pieces of any length") {
  on_every_model(check_cached);
}

TEST_CASE("bart: prompts and sources that do not fit one another are errors") {
  on_every_backend([](Bench& bench) {
    const auto model = model_with(bench, "none");
    Generator generator(bench.ops, *model, bench.compute, 2);
    const Texts prompts{{3}, {3}}, good{{5}, {6}}, few{{5}}, empty{{5}, {}}, long_one{{5}, std::vector<int32_t>(24, 5)};
    CHECK_THROWS_WITH_AS(generator.generate(prompts, {}), doctest::Contains("2 prompts come with 0 sources"), Error);
    CHECK_THROWS_WITH_AS(generator.generate(prompts, few, {}), doctest::Contains("1 sources"), Error);
    CHECK_THROWS_WITH_AS(generator.generate(prompts, empty, {}), doctest::Contains("source 1 is empty"), Error);
    CHECK_THROWS_WITH_AS(generator.generate(prompts, long_one, {}), doctest::Contains("source 1 has 24 tokens"), Error);
    CHECK_THROWS_AS(generator.generate(prompts, good, {.temperature = 1, .beams = 2}), Error);
    CHECK(generator.generate(prompts, good, {.max_new_tokens = 3}).size() == 2);
  });
}

TEST_CASE("bart: a pass without a source is an error") {
  on_every_backend([](Bench& bench) {
    const auto model = model_with(bench, "learned");
    CHECK_THROWS_WITH_AS(ModelRun(bench, *model).logits({{3, 9}, {0, 2}}), doctest::Contains("no source"), Error);
  });
}

}  // namespace engine::test::test_bart
