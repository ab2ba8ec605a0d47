// Language models of LSTMs match torch.nn.LSTM (golden/make_lstm.py), tied and untied. Packing, recomputation and the
// number of threads change nothing, and generation from cells gives what whole rows give.
#include <filesystem>

#include "models/cached_scorer.h"
#include "models/generation.h"
#include "models/huggingface.h"
#include "models/tied_options.h"
#include "tests/cached_checks.h"
#include "tests/changed_folder.h"
#include "tests/task_settings.h"

namespace engine::test::test_lstm_model {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path golden_folder = "tests/golden/lstm";

std::unique_ptr<Model> load(Bench& bench, const fs::path& folder, bool with_gradients = true) {
  return load_model(folder, bench.arena.memory(), with_gradients, {.kinds = generating_kinds});
}

using Check = std::function<void(const ModelRun& run, const Golden& golden)>;

// Runs a check for each golden model on every backend.
void on_every_model(const Check& check) {
  on_every_backend([&](Bench& bench) {
    for (const std::string name : {"untied", "tied"}) {
      CAPTURE(name);
      const Golden golden{golden_folder / name};
      const auto model = load(bench, golden.folder / "model");
      check({bench, *model}, golden);
    }
  });
}

ModelConfig small_config() {
  ModelConfig config = open_model();
  config.architecture = "lstm";
  config.hidden_size = 20, config.num_layers = 2, config.vocab_size = 11, config.max_positions = 40;
  config.initializer_range = 1;
  return config;
}

std::unique_ptr<Model> small_model(Bench& bench) {
  auto model = make_model(small_config());
  model->parameters().allocate(bench.arena.memory(), false);
  model->parameters().initialise(3);
  return model;
}

// Returns what loading a changed folder says behind the folder's name, and nothing where it loads.
std::string error_after(const std::function<void(ChangedFolder&)>& change) {
  ChangedFolder folder(golden_folder / "untied" / "model");
  change(folder);
  try {
    load_model(folder.write(), host_memory(), false, {.kinds = generating_kinds});
    return "";
  } catch (const Error& error) {
    return std::string(error.what()).substr(folder.folder.path().string().size());
  }
}

}  // namespace

TEST_CASE("lstm model: logits, loss, every gradient and three AdamW steps are those of torch.nn.LSTM") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    check_golden(run, golden, [&](const std::string& folder) {
      return values_by_name(run.bench, *load(run.bench, golden.folder / folder, false));
    });
  });
}

TEST_CASE("lstm model: sequences packed into one row give the same as one at a time") {
  on_every_model(check_packing);
}

TEST_CASE("lstm model: recomputation gives the same bits, with dropout too, and threads change nothing") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    check_recomputation(run, golden.batch());
    check_threads(run, golden.batch());
  });
}

TEST_CASE("lstm model: gradients are derivatives of the loss, by finite differences, without and with dropout") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    if (run.bench.compute == DType::f32) check_derivatives(run, golden.batch());
  });
}

TEST_CASE("lstm model: saved and loaded again it has the same bits, and the file is that it was loaded from") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    const TemporaryFolder folder;
    save_model(folder.path(), run.model);
    const auto loaded = load(run.bench, folder.path(), false);
    CHECK(same_bits(ModelRun(run.bench, *loaded).logits(golden.batch()), run.logits(golden.batch())));
    const auto config_in = [](const fs::path& model) { return json::parse(read_text(model / "config.json")); };
    CHECK(config_in(folder.path()) == config_in(golden.folder / "model"));
    const Safetensors ours = Safetensors::open(folder.path() / "model.safetensors"),
                      theirs = Safetensors::open(golden.folder / "model" / "model.safetensors");
    CHECK(ours.entries().size() == theirs.entries().size());
    for (const auto& [name, entry] : theirs.entries()) {
      CAPTURE(name);
      REQUIRE(ours.entries().contains(name));
      CHECK(std::memcmp(ours.at(name).data, entry.data, entry.bytes) == 0);
    }
  });
}

TEST_CASE("lstm model: from its cells it goes on as over whole rows, in pieces and with many sequences at once") {
  on_every_model(check_cached);
}

TEST_CASE("lstm model: generated texts are the same one at a time, in few slots, and by whole rows") {
  on_every_backend([](Bench& bench) {
    const auto model = small_model(bench);
    std::vector<std::vector<int32_t>> prompts;
    for (size_t i = 0; i < 7; ++i) {
      prompts.emplace_back();
      for (size_t t = 0; t <= 2 * i; ++t) prompts[i].push_back(static_cast<int32_t>(bench.random.below(11)));
    }
    const GenerationOptions options{.max_new_tokens = 12, .end_tokens = {4}};
    const auto texts = Generator(bench.ops, *model, bench.compute, 3).generate(prompts, options);
    if (bench.compute == DType::f32)
      CHECK(Generator(bench.ops, *model, bench.compute, 1).generate(prompts, options) == texts);
    const ModelRun run{bench, *model};
    for (size_t i = 0; i < prompts.size(); ++i) {
      REQUIRE(!texts[i].empty());
      // Each token has the largest logit of a whole row, or one that rounding alone puts behind it.
      std::vector<int> row(prompts[i].begin(), prompts[i].end());
      for (const int32_t token : texts[i]) {
        const std::vector<double> logits = run.logits({row, {0, static_cast<int>(row.size())}}, /*keeps=*/false);
        const auto last = logits.end() - 11;
        const double best = *std::max_element(last, logits.end());
        CHECK(last[token] >= best - 64 * epsilon_of(bench.compute) * (1 + std::abs(best)));
        row.push_back(token);
      }
      CHECK((texts[i].size() == 12 || texts[i].back() == 4));
    }
    // Beam search copies slots.
    GenerationOptions beams = options;
    beams.beams = 3;
    const auto searched = Generator(bench.ops, *model, bench.compute, 3).generate(prompts, beams);
    if (bench.compute == DType::f32)
      CHECK(Generator(bench.ops, *model, bench.compute, 1).generate(prompts, beams) == searched);
  });
}

TEST_CASE("lstm model: completions go on from copies of a slot, and from nowhere but its end") {
  on_every_backend([](Bench& bench) {
    const auto model = small_model(bench);
    const std::vector<int32_t> context{1, 5, 3, 8}, completion{2, 9, 7}, labels{9, 7, 1};
    CachedScorer scorer(bench.ops, *model, bench.compute);
    const ArenaScope scope(scorer.arena());
    scorer.begin({.slots = 2, .rows = 12});
    CachedScorer::Scores none, scores;
    scorer.score({{{.slot = 0, .cached = 0, .tokens = context}}}, none);
    const std::vector<CachedScorer::Copy> copies{{0, 1, 4}};
    scorer.copy_slots(copies);
    const CachedScorer::Piece piece{.slot = 1, .cached = 4, .tokens = completion, .labels = labels};
    scorer.score({{piece}}, scores);
    const Batch whole{.tokens = {1, 5, 3, 8, 2, 9, 7}, .offsets = {0, 7},
                      .labels = {-100, -100, -100, -100, 9, 7, 1}};
    const std::vector<double> losses = ModelRun{bench, *model}.losses(whole, {.gradients = false});
    CHECK_CLOSE(std::vector<double>(scores.losses.begin(), scores.losses.end()), losses,
                64 * epsilon_of(bench.compute));
    CHECK_THROWS_WITH_AS(scorer.score({{piece}}, scores),
                         "an lstm goes on behind the 7 tokens that slot 1 has read, not behind 4", Error);
    const std::vector<CachedScorer::Copy> early{{0, 1, 3}};
    CHECK_THROWS_WITH_AS(scorer.copy_slots(early),
                         "an lstm's slot 0 has read 4 tokens: the first 3 alone cannot be copied", Error);
    const CachedScorer::Piece anew{.slot = 1, .cached = 0, .tokens = completion};
    CHECK_THROWS_WITH_AS(scorer.score({{anew}}, scores, /*bidirectional=*/true),
                         doctest::Contains("an lstm reads its tokens from the first to the last"), Error);
  });
}

TEST_CASE("lstm model: a scratchpad is trained, in micro-batches and with recomputation too, and evaluated") {
  const std::string text =
      "task = \"scratchpad\"\n[model]\narchitecture = \"lstm\"\nhidden_size = 24\nnum_layers = 2\nmax_positions = 64\n"
      "dropout = 0.1\n[generation]\nmax_new_tokens = 8\n[scratchpad]\neval_quantity = 4\n"
      "[training]\nbatch_size = 16\nmax_steps = 4\nlearning_rate = 1e-2\nsave_every = 0\neval_every = 0\n";
  const auto values_after = [&](const std::string& lines) {
    TaskSettings settings(text + lines);
    const auto task = settings.trained();
    std::string samples;
    const Metrics metrics = task->evaluate(settings.machine, samples);
    CHECK(!metrics.empty());
    for (const auto& [name, value] : metrics) CHECK(std::isfinite(value));
    CHECK(!samples.empty());
    std::vector<double> values;
    for (const Parameter& p : causal(*task).model().parameters().all())
      for (int64_t i = 0; i < p.value.count(); ++i) values.push_back(static_cast<double>(p.value.as<float>()[i]));
    return values;
  };
  const std::vector<double> expected = values_after("");
  CHECK(values_after("recompute = true\n") == expected);
  const std::vector<double> parts = values_after("micro_batch_size = 5\n");
  CHECK(parts != expected);  // sums over rows have another order
  CHECK(relative_difference(parts, expected) < 1e-3);
}

TEST_CASE("lstm model: what a folder lacks or has too much of, and configurations that are impossible") {
  CHECK(error_after([](ChangedFolder&) {}) == "");
  CHECK(error_after([](ChangedFolder& f) { f.remove("lstm.bias_l1"); }) ==
        "/model.safetensors: missing tensors: lstm.bias_l1 [88]");
  CHECK(error_after([](ChangedFolder& f) { f.config.erase("hidden_size"); }).starts_with("/config.json: "));
  CHECK(error_after([](ChangedFolder& f) { f.config["num_layers"] = 0; }).starts_with("/config.json: \"num_layers\""));
  CHECK(error_after([](ChangedFolder& f) { f.config["dropout"] = 1.5; }).starts_with("/config.json: dropout is 1.5"));
  ModelConfig config = small_config();
  CHECK(make_model(config) != nullptr);  // whatever num_heads is
  config.hidden_size = 0;
  CHECK_THROWS_WITH_AS(make_model(config), doctest::Contains("model.hidden_size is 0"), UsageError);
  config = small_config();
  config.thought_states = true;
  CHECK_THROWS_WITH_AS(make_model(config), "thought.states is true: an lstm has no thought states", UsageError);
  ModelConfig gpt2{.hidden_size = 16, .num_heads = 2, .vocab_size = 5};
  gpt2.own.get<TiedOptions>().tied_embeddings = true;
  CHECK_THROWS_WITH_AS(make_model(gpt2),
                       "model.tied_embeddings is an option of gpt_neox's and lstm's, the model is a gpt2", UsageError);
}

}  // namespace engine::test::test_lstm_model
