// GPT-2 matches transformers (golden/make_gpt2.py), and packing, recomputation and the number of threads change
// nothing.
#include <filesystem>

#include "models/huggingface.h"
#include "tests/changed_folder.h"
#include "tests/model_checks.h"

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
    for (const std::string activation : {"gelu", "relu", "silu", "swish", "mish", "quick_gelu"}) {
      CAPTURE(activation);
      ChangedFolder folder(golden_folder / "model");
      folder.config["activation_function"] = activation;
      const auto model = load_model(folder.write(), bench.arena.memory(), false, {.kinds = generating_kinds});
      const std::string golden_name = activation == "swish" ? "silu" : activation;
      CHECK_CLOSE(ModelRun(bench, *model).logits(golden.batch()), golden.numbers("logits_" + golden_name),
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

TEST_CASE("gpt2: a table of its own for the logits is read, trained and saved") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    ChangedFolder folder(golden_folder / "model");
    const Safetensors file = Safetensors::open(golden_folder / "model" / "model.safetensors");
    const auto& entry = file.at("transformer.wte.weight");
    const size_t rows = static_cast<size_t>(entry.shape[0]), row = entry.bytes / rows;
    std::string turned;  // the embedding's rows from the last to the first
    for (size_t i = rows; i-- > 0;) turned.append(entry.data + i * row, row);
    folder.add("lm_head.weight", entry.shape, turned);
    folder.config["tie_word_embeddings"] = false;
    const auto model = load_model(folder.write(), bench.arena.memory(), true, {.kinds = generating_kinds});
    const ModelRun run{bench, *model};
    // Transformers takes a table that differs whatever the config says.
    folder.config.erase("tie_word_embeddings");
    const auto differs = load_model(folder.write(), bench.arena.memory(), false, {.kinds = generating_kinds});
    CHECK(same_bits(ModelRun(bench, *differs).values(), run.values()));
    std::vector<double> logits = run.logits(golden.batch());
    for (size_t i = 0; i < logits.size(); i += rows)
      std::reverse(logits.begin() + static_cast<long>(i), logits.begin() + static_cast<long>(i + rows));
    CHECK_CLOSE(logits, golden.numbers("logits"), golden.tolerance(bench.compute, "logits"));
    check_packing(run, golden);
    if (bench.compute == DType::f32) check_derivatives(run, golden.batch());
    const TemporaryFolder saved;
    save_model(saved.path(), *model);
    CHECK(nlohmann::json::parse(read_text(saved.path() / "config.json"))["tie_word_embeddings"] == false);
    const auto loaded = load_model(saved.path(), bench.arena.memory(), false, {.kinds = generating_kinds});
    CHECK(same_bits(ModelRun(bench, *loaded).values(), run.values()));
  });
}

TEST_CASE("gpt2: a dropout of 1 leaves nothing in training, as in transformers, and evaluation is without it") {
  on_every_backend([](Bench& bench) {
    const Golden golden{golden_folder};
    ChangedFolder folder(golden_folder / "model");
    for (const char* key : {"embd_pdrop", "resid_pdrop", "attn_pdrop"}) folder.config[key] = 1;
    const auto model = load_model(folder.write(), bench.arena.memory(), true, {.kinds = generating_kinds});
    const ModelRun run{bench, *model};
    CHECK_CLOSE(run.logits(golden.batch()), golden.numbers("logits"), golden.tolerance(bench.compute, "logits"));
    // The stream is 0, so each hidden state is the bias of the last norm.
    auto values = values_by_name(bench, *model);
    const std::vector<double>&table = values["embedding.tokens"], &hidden = values["final_norm.bias"];
    std::vector<double> logits(table.size() / hidden.size());
    double sum = 0;
    for (size_t token = 0; token < logits.size(); ++token) {
      for (size_t i = 0; i < hidden.size(); ++i) logits[token] += table[token * hidden.size() + i] * hidden[i];
      sum += std::exp(logits[token]);
    }
    std::vector<double> expected;
    for (const int label : golden.batch().targets().second)
      expected.push_back(std::log(sum) - logits[static_cast<size_t>(label)]);
    CHECK_CLOSE(run.losses(golden.batch(), {.training = true}), expected, golden.tolerance(bench.compute, "logits"));
    for (const auto& [name, gradient] : gradients_by_name(run)) {
      CAPTURE(name);
      const bool is_read = name == "embedding.tokens" || name == "final_norm.bias";
      double size = 0;
      for (const double value : gradient) size = std::max(size, std::abs(value));
      CHECK((is_read ? size > 1e-3 : size == 0));
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
