// BART with relative tables in self attention passes every architecture's checks, and uses its tables. The operation
// itself is in test_attention.cc.
#include <functional>
#include <nlohmann/json.hpp>

#include "models/bart.h"
#include "models/positions.h"
#include "models/generation.h"
#include "models/huggingface.h"
#include "tests/cached_checks.h"
#include "tests/changed_folder.h"

namespace engine::test::test_relative_positions {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path golden_folder = "tests/golden/bart/plain";

// Returns the golden model with relative tables of random rows beside other positions.
std::unique_ptr<Model> model_with(Bench& bench, const std::string& relative, int64_t distances,
                                  const std::string& positions = "none", double size = 0.5) {
  const auto golden = load_model(golden_folder / "model", bench.arena.memory(), false, {.kinds = generating_kinds});
  ModelConfig config = golden->config();
  config.own.get<PositionOptions>().positions = positions;
  config.own.get<BartOptions>().relative_positions = relative;
  config.own.get<BartOptions>().relative_distances = distances;
  config.attention_dropout = 0.1f;
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  for (Parameter& p : model->parameters().all()) {
    const ArenaScope scope(bench.arena);
    const Parameter* const same = golden->parameters().find(p.name);
    bench.ops.copy({.x = same ? same->value : bench.normal(DType::f32, p.shape, size), .y = p.value});
  }
  return model;
}

}  // namespace

TEST_CASE("relative positions: packing, recomputation, threads, derivatives, cached passes, saving") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};  // of the same sizes: its batch and its tolerances
    for (const std::string relative : {"shared", "separate"}) {
      CAPTURE(relative);
      if (bench.is_device && relative == "shared") continue;
      const auto model = model_with(bench, relative, 3, relative == "shared" ? "learned" : "none");
      const ModelRun run{bench, *model};
      if (!bench.is_device) {
        check_packing(run, golden);
        check_output_rows(run, golden);
        check_recomputation(run, golden.batch());
        check_threads(run, golden.batch());
      }
      if (bench.compute == DType::f32) check_derivatives(run, golden.batch());
      check_cached(run, golden);
      const TemporaryFolder folder;
      save_model(folder.path(), *model);
      const auto loaded = load_model(folder.path(), bench.arena.memory(), false, {.kinds = generating_kinds});
      CHECK(loaded->config().own.get<BartOptions>().relative_positions == relative);
      CHECK(loaded->config().own.get<BartOptions>().relative_distances == 3);
      CHECK(same_bits(ModelRun(bench, *loaded).logits(golden.batch()), run.logits(golden.batch())));
    }
  });
}

TEST_CASE("relative positions: tables of zeros change nothing, others tell places apart, of real tokens alone") {
  on_every_backend([](Bench& bench) {
    if (bench.is_device) return;  // which is held to the CPU's numbers by the operation's tests
    const Golden golden{golden_folder};
    const Batch batch = golden.batch();
    const double allowed = golden.tolerance(bench.compute, "logits");
    const auto without = model_with(bench, "none", 64), zeros = model_with(bench, "separate", 4, "none", 0);
    const std::vector<double> plain = ModelRun(bench, *without).logits(batch);
    CHECK_CLOSE(ModelRun(bench, *zeros).logits(batch), plain, allowed);
    const auto model = model_with(bench, "separate", 4);
    const ModelRun run{bench, *model};
    CHECK(relative_difference(run.logits(batch), plain) > 8 * allowed);
    // Without other positions a model cannot tell the order of a source, unless its tables can.
    const Batch one{{3, 9, 4}, {0, 3}, {}, {}, {5, 6, 7, 8}, {0, 4}};
    Batch turned = one;
    turned.sources = {8, 6, 5, 7};
    CHECK(relative_difference(run.logits(turned), run.logits(one)) > 8 * allowed);
    // Rows of distances that do not occur are not read.
    const auto near = model_with(bench, "separate", 30), far = model_with(bench, "separate", 30);
    for (Parameter& p : far->parameters().all())
      if (p.name.find("relative") != std::string::npos) {
        const bool encoder = p.name.starts_with("encoder.");
        CHECK(p.shape == Shape{encoder ? 61 : 31, 5});
        std::vector<double> rows = bench.values(near->parameters().at(p.name).value);
        for (int64_t i = 0; i < 10 * 5; ++i) rows[static_cast<size_t>(i)] = 1e3;  // 21 to 30 before: none so far
        bench.fill(p.value, rows);
      } else {
        bench.ops.copy({.x = near->parameters().at(p.name).value, .y = p.value});
      }
    CHECK(same_bits(ModelRun(bench, *far).logits(batch), ModelRun(bench, *near).logits(batch)));
  });
}

TEST_CASE("relative positions: texts are the same whatever runs beside them") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32 || bench.is_device) return;
    const auto model = model_with(bench, "shared", 3);
    const Golden golden{golden_folder};
    const Texts sources = texts_of(golden.integers("sources"), golden.integers("source_offsets"));
    const Texts prompts(sources.size(), {3});
    for (int beams : {1, 3}) {
      CAPTURE(beams);
      const GenerationOptions options{.max_new_tokens = 12, .end_tokens = {2}, .beams = beams};
      Texts expected;
      for (int together : {1, 3, 8}) {
        CAPTURE(together);
        const Texts texts = Generator(bench.ops, *model, bench.compute, together).generate(prompts, sources, options);
        if (expected.empty()) expected = texts;
        CHECK(texts == expected);
      }
    }
  });
}

TEST_CASE("relative positions: folders are this engine's own; what is unknown or missing is named") {
  ModelConfig config = read_model_config(golden_folder / "model");
  config.own.get<BartOptions>().relative_positions = "shared";
  config.own.get<BartOptions>().relative_distances = 6;
  const auto model = make_model(config);
  model->parameters().allocate(host_memory(), false);
  model->parameters().initialise(3);
  const TemporaryFolder folder;
  save_model(folder.path(), *model);
  const auto error_after = [&](const std::function<void(ChangedFolder&)>& change) -> std::string {
    ChangedFolder changed(folder.path());
    change(changed);
    try {
      load_model(changed.write(), host_memory(), false, {.kinds = generating_kinds});
      return "";
    } catch (const Error& error) {
      return std::string(error.what()).substr(changed.folder.path().string().size());
    }
  };
  CHECK(json::parse(read_text(folder.path() / "config.json")).at("model_type") == "engine_bart");
  CHECK(error_after([](ChangedFolder&) {}) == "");
  CHECK(error_after([](ChangedFolder& f) { f.remove("encoder.layers.1.self_attn.relative_positions"); }) ==
        "/model.safetensors: missing tensors: model.encoder.layers.1.self_attn.relative_positions [13, 5]");
  CHECK(error_after([](ChangedFolder& f) { f.config["relative_distances"] = 5; }).find("[13, 5]") !=
        std::string::npos);
  CHECK(error_after([](ChangedFolder& f) { f.config["relative_distances"] = 0; }).find("relative_distances") !=
        std::string::npos);
  CHECK(error_after([](ChangedFolder& f) { f.config["relative_positions"] = "rotary"; })
            .starts_with("/config.json: model.relative_positions \"rotary\" are unknown: none, shared or separate"));
  config.own.get<BartOptions>().relative_distances = 1 << 20;
  CHECK_THROWS_WITH_AS(make_model(config), doctest::Contains("model.relative_distances is 1048576"), UsageError);
  ModelConfig gpt2{.vocab_size = 5};
  gpt2.own.get<BartOptions>().relative_positions = "shared";
  CHECK_THROWS_WITH_AS(make_model(gpt2), doctest::Contains("model.relative_positions is an option of bart's"),
                       UsageError);
}

}  // namespace engine::test::test_relative_positions
