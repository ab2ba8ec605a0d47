// GPT-2 matches transformers (golden/make_gpt2.py), and packing, recomputation and the number of threads change
// nothing.
#include <filesystem>

#include "models/huggingface.h"
#include "tests/model_checks.h"
#include "tests/temporary.h"

namespace engine::test::test_gpt2 {

namespace fs = std::filesystem;

namespace {

const fs::path golden_folder = "tests/golden/gpt2";

// Returns the values of a golden model folder, by this engine's names of parameters.
std::map<std::string, std::vector<double>> parameters_in(Bench& bench, const std::string& folder) {
  const auto model = load_model(golden_folder / folder, bench.arena.memory(), false, {.kinds = generating_kinds});
  return values_by_name(bench, *model);
}

}  // namespace

TEST_CASE("gpt2: logits, loss, every gradient and three AdamW steps are those of transformers") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    const auto model = load_model(golden_folder / "model", bench.arena.memory(), true, {.kinds = generating_kinds});
    const auto parameters = [&](const std::string& folder) { return parameters_in(bench, folder); };
    check_golden({bench, *model}, golden, parameters);
  });
}

TEST_CASE("gpt2: other activations") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    for (const std::string activation : {"gelu", "relu"}) {
      CAPTURE(activation);
      const TemporaryFolder folder;
      fs::copy_file(golden_folder / "model" / "model.safetensors", folder.path() / "model.safetensors");
      std::string config = read_text(golden_folder / "model" / "config.json");
      const size_t place = config.find("gelu_new");
      REQUIRE(place != std::string::npos);
      write_file(folder.path() / "config.json", config.replace(place, 8, activation));
      const auto model = load_model(folder.path(), bench.arena.memory(), false, {.kinds = generating_kinds});
      CHECK_CLOSE(ModelRun(bench, *model).logits(golden.batch()), golden.numbers("logits_" + activation),
                  golden.tolerance(bench.compute, "logits"));
    }
  });
}

TEST_CASE("gpt2: sequences packed into one row give the same as one at a time") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    const auto model = load_model(golden_folder / "model", bench.arena.memory(), true, {.kinds = generating_kinds});
    check_packing({bench, *model}, golden);
  });
}

TEST_CASE("gpt2: recomputation gives the same bits, with dropout too") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    const auto model = load_model(golden_folder / "model", bench.arena.memory(), true, {.kinds = generating_kinds});
    check_recomputation({bench, *model}, golden.batch());
  });
}

TEST_CASE("gpt2: the same bits at any number of threads") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    const auto model = load_model(golden_folder / "model", bench.arena.memory(), true, {.kinds = generating_kinds});
    check_threads({bench, *model}, golden.batch());
  });
}

TEST_CASE("gpt2: gradients are derivatives of the loss, by finite differences, without and with dropout") {
  on_every_backend([](Bench& bench) {
    if (bench.compute != DType::f32) return;  // rounding to bf16 has no derivative
    const Golden golden{golden_folder};
    const auto model = load_model(golden_folder / "model", bench.arena.memory(), true, {.kinds = generating_kinds});
    check_derivatives({bench, *model}, golden.batch());
  });
}

TEST_CASE("gpt2: saved and loaded again it has the same bits; in half precision the rounded ones") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    const auto model = load_model(golden_folder / "model", bench.arena.memory(), false, {.kinds = generating_kinds});
    const ModelRun run{bench, *model};
    for (const std::string dtype : {"F32", "F16", "BF16"}) {
      CAPTURE(dtype);
      const TemporaryFolder folder;
      save_model(folder.path(), *model, dtype);
      const auto loaded = load_model(folder.path(), bench.arena.memory(), false, {.kinds = generating_kinds});
      const ModelRun again{bench, *loaded};
      std::vector<double> expected = run.values();
      for (double& value : expected) {
        char stored[4];
        float rounded = static_cast<float>(value);
        store_floats(&rounded, 1, dtype, stored);
        load_floats(stored, 1, dtype, &rounded);
        value = static_cast<double>(rounded);
      }
      CHECK(same_bits(again.values(), expected));
      if (dtype == "F32") CHECK(same_bits(again.logits(golden.batch()), run.logits(golden.batch())));
    }
  });
}

TEST_CASE("gpt2: sizes whose products could overflow are refused, each by its name") {
  const ModelConfig small{.hidden_size = 8, .num_layers = 1, .num_heads = 2, .vocab_size = 5, .max_positions = 4};
  CHECK(make_model(small) != nullptr);
  for (const auto& [member, name] : std::vector<std::pair<int64_t ModelConfig::*, const char*>>{
           {&ModelConfig::hidden_size, "hidden_size"},
           {&ModelConfig::num_layers, "num_layers"},
           {&ModelConfig::num_heads, "num_heads"},
           {&ModelConfig::ffn_size, "ffn_size"},
           {&ModelConfig::vocab_size, "vocab_size"},
           {&ModelConfig::max_positions, "max_positions"}})
    for (const int64_t size : {int64_t{-1}, int64_t{1} << 31, INT64_MAX}) {
      ModelConfig config = small;
      config.*member = size;
      CHECK_THROWS_WITH_AS(make_model(config), doctest::Contains(name), UsageError);
    }
}

}  // namespace engine::test::test_gpt2
