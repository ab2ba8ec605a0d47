// GPT-NeoX matches transformers (golden/make_neox.py) with a parallel residual and without, tied and untied, and
// packing, recomputation and the number of threads change nothing. The same goes for a GPT-2 with rotary positions.
#include <filesystem>

#include "models/huggingface.h"
#include "models/neox.h"
#include "models/positions.h"
#include "tests/changed_folder.h"
#include "tests/model_checks.h"

namespace engine::test::test_neox {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path golden_folder = "tests/golden/neox";

std::unique_ptr<Model> load(Bench& bench, const fs::path& folder, bool with_gradients = true) {
  return load_model(folder, bench.arena.memory(), with_gradients, {.kinds = generating_kinds});
}

using Check = std::function<void(const ModelRun& run, const Golden& golden)>;

// Runs a check for each golden model on every backend.
void on_every_model(const Check& check) {
  on_every_backend([&](Bench& bench) {
    for (const std::string name : {"parallel", "sequential"}) {
      CAPTURE(name);
      const Golden golden{golden_folder / name};
      const auto model = load(bench, golden.folder / "model");
      check({bench, *model}, golden);
    }
  });
}

// Returns what loading a changed folder says behind the folder's name, and nothing where it loads.
std::string error_after(const std::function<void(ChangedFolder&)>& change, const std::string& kind = "parallel") {
  ChangedFolder folder(golden_folder / kind / "model");
  change(folder);
  try {
    load_model(folder.write(), host_memory(), false, {.kinds = generating_kinds});
    return "";
  } catch (const Error& error) {
    return std::string(error.what()).substr(folder.folder.path().string().size());
  }
}

ModelConfig config_after(const std::function<void(json&)>& change, const std::string& kind = "parallel") {
  ChangedFolder folder(golden_folder / kind / "model");
  change(folder.config);
  return read_model_config(folder.write());
}

std::unique_ptr<Model> rotary_gpt2(Bench& bench) {
  ModelConfig config{.hidden_size = 40, .num_layers = 2, .num_heads = 5, .vocab_size = 61, .max_positions = 33,
                     .dropout = 0.1f, .initializer_range = 0.3f};
  config.own.get<PositionOptions>().positions = "rotary";
  config.own.get<RotaryOptions>() = {};
  config.own.get<RotaryOptions>().share = 0.5;
  config.own.get<RotaryOptions>().base = 100;
  auto model = make_model(config);
  model->parameters().allocate(bench.arena.memory(), true);
  model->parameters().initialise(3);
  return model;
}

}  // namespace

TEST_CASE("gpt_neox: logits, loss, every gradient and three AdamW steps are those of transformers") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    check_golden(run, golden, [&](const std::string& folder) {
      return values_by_name(run.bench, *load(run.bench, golden.folder / folder, false));
    });
  });
}

TEST_CASE("gpt_neox: sequences packed into one row give the same as one at a time") { on_every_model(check_packing); }

TEST_CASE("gpt_neox: recomputation gives the same bits, with dropout too, and threads change nothing") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    check_recomputation(run, golden.batch());
    check_threads(run, golden.batch());
  });
}

TEST_CASE("gpt_neox: gradients are derivatives of the loss, by finite differences, without and with dropout") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    if (run.bench.compute == DType::f32) check_derivatives(run, golden.batch());
  });
}

TEST_CASE("gpt_neox: saved and loaded again it has the same bits, and the file is that of transformers") {
  on_every_model([](const ModelRun& run, const Golden& golden) {
    const TemporaryFolder folder;
    save_model(folder.path(), run.model);
    const auto loaded = load(run.bench, folder.path(), false);
    CHECK(same_bits(ModelRun(run.bench, *loaded).logits(golden.batch()), run.logits(golden.batch())));
    const Safetensors ours = Safetensors::open(folder.path() / "model.safetensors"),
                      theirs = Safetensors::open(golden.folder / "model" / "model.safetensors");
    CHECK(ours.entries().size() == theirs.entries().size());
    for (const auto& [name, entry] : theirs.entries()) {
      CAPTURE(name);
      REQUIRE(ours.entries().contains(name));
      CHECK(ours.at(name).shape == entry.shape);
      CHECK(std::memcmp(ours.at(name).data, entry.data, entry.bytes) == 0);
    }
    const json saved = json::parse(read_text(folder.path() / "config.json"));
    const json read = json::parse(read_text(golden.folder / "model" / "config.json"));
    for (const auto& [key, value] : saved.items()) {
      CAPTURE(key);
      if (key != "rotary_pct" && key != "rotary_emb_base") CHECK(value == read.at(key));
    }
    CHECK(saved["rotary_pct"] == read["rope_parameters"]["partial_rotary_factor"]);
    CHECK(saved["rotary_emb_base"] == read["rope_parameters"]["rope_theta"]);
  });
}

TEST_CASE("gpt_neox: both names of the table for the logits, old buffers, a tied model with a copy of its table") {
  CHECK(error_after([](ChangedFolder& f) { f.rename("embed_out", "lm_head"); }) == "");
  CHECK(error_after([](ChangedFolder& f) {
          const std::string four(16, 'x'), wide(33 * 33, 1);
          for (const std::string layer : {"0", "1", "2"}) {
            const std::string attention = "gpt_neox.layers." + layer + ".attention.";
            f.add(attention + "rotary_emb.inv_freq", {1}, std::string(4, 0));
            f.add(attention + "masked_bias", {1}, std::string(4, 0));
            f.add(attention + "bias", {1, 1, 33, 33}, wide, "U8");
          }
        }) == "");
  ChangedFolder old(golden_folder / "parallel" / "model");
  old.add("gpt_neox.layers.1.attention.bias", {1, 1, 2, 2}, std::string(4, 1), "U8");
  LoadReport report;
  load_model(old.write(), host_memory(), false, {.kinds = generating_kinds, .report = &report});
  CHECK(report.left_out.empty());
  const auto embedding = [](ChangedFolder& f, char change) {
    const Safetensors file = Safetensors::open(golden_folder / "sequential" / "model" / "model.safetensors");
    const auto& entry = file.at("gpt_neox.embed_in.weight");
    std::string bytes(entry.data, entry.bytes);
    bytes[0] = static_cast<char>(bytes[0] ^ change);
    f.add("embed_out.weight", entry.shape, bytes);
  };
  CHECK(error_after([&](ChangedFolder& f) { embedding(f, 0); }, "sequential") == "");
  // A copy that differs is a table of its own.
  ChangedFolder differs(golden_folder / "sequential" / "model");
  embedding(differs, 1);
  const auto untied = load_model(differs.write(), host_memory(), false, {.report = &report});
  CHECK(report.left_out.empty());
  CHECK(untied->parameters().at("lm_head.weight").value.as<float>()[0] !=
        untied->parameters().at("embedding.tokens").value.as<float>()[0]);
  CHECK(error_after([&](ChangedFolder& f) {
          f.add("lm_head.weight", {61, 24}, std::string(61 * 24 * 4, '\0'));
        }) == "/model.safetensors: tensor lm_head.weight differs from embed_out.weight, but they are one in "
              "transformers");
  CHECK(error_after([](ChangedFolder& f) { f.remove("embed_out"); }) ==
        "/model.safetensors: missing tensors: embed_out.weight [61, 24]");
  CHECK(error_after([](ChangedFolder& f) { f.remove("layers.1.attention.query_key_value.bias"); }) ==
        "/model.safetensors: missing tensors: gpt_neox.layers.1.attention.query_key_value.bias [72]");
}

TEST_CASE("gpt_neox: rotary positions by every key that transformers reads; others are refused by name") {
  const auto rotary = [](const json& keys) {
    const ModelConfig read = config_after([&](json& config) {
      config.erase("rope_parameters");
      config.update(keys);
    });
    const auto& own = read.own.get<RotaryOptions>();
    return std::pair{own.share, own.base};
  };
  using Pair = std::pair<double, float>;
  CHECK(rotary(json::object()) == Pair{0.25, 10000});
  CHECK(rotary({{"rotary_pct", 1.0}, {"rotary_emb_base", 500}}) == Pair{1, 500});
  CHECK(rotary({{"rope_parameters", {{"rope_theta", 99}}}, {"rotary_pct", 0.5}, {"rotary_emb_base", 3}}) ==
        Pair{0.5, 99});
  CHECK(rotary({{"rope_scaling", {{"type", "default"}, {"rope_theta", 5}}},
                {"rope_parameters", {{"rope_theta", 9}}}}) == Pair{0.25, 5});
  CHECK(rotary({{"rope_scaling", nullptr}, {"rope_theta", 700}, {"rotary_emb_base", 700}}) == Pair{0.25, 700});
  const auto refused = [](const json& keys) {
    return error_after([&](ChangedFolder& f) { f.config.update(keys); });
  };
  CHECK(refused({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}) ==
        "/config.json: \"rope_scaling\" is of the type \"linear\", which is not supported: default");
  CHECK(refused({{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 2}}}}) ==
        "/config.json: \"rope_parameters\" is of the type \"yarn\", which is not supported: default");
  CHECK(refused({{"rope_theta", 700}}) ==
        "/config.json: \"rope_theta\" is 700, but transformers reads 10000 of other keys: leave it out");
  CHECK(refused({{"partial_rotary_factor", 1}}).starts_with("/config.json: \"partial_rotary_factor\" is 1, but"));
  CHECK(refused({{"head_dim", 4}}).starts_with("/config.json: \"head_dim\" is 4, but transformers reads 8"));
  CHECK(refused({{"rope_parameters", 3}}) == "/config.json: \"rope_parameters\" should be an object");
  CHECK(refused({{"rope_parameters", {{"partial_rotary_factor", 0.4}}}}) ==
        "/config.json: model.rotary_share is 0.4, which is 3 dimensions of a head of 8: they must be an even number "
        "from 2");
  CHECK(refused({{"hidden_act", "gelu_10"}}).find("\"gelu_10\" is unknown") != std::string::npos);
}

TEST_CASE("gpt_neox: options of other architectures are refused by name, as are its own elsewhere") {
  ModelConfig neox{.architecture = "gpt_neox", .hidden_size = 16, .num_heads = 2, .vocab_size = 5};
  CHECK(make_model(neox) != nullptr);
  neox.own.get<PositionOptions>().positions = "rotary";
  CHECK_THROWS_WITH_AS(make_model(neox), "model.positions is an option of gpt2's and bart's, the model is a gpt_neox",
                       UsageError);
  ModelConfig bert{.architecture = "bert", .hidden_size = 16, .num_heads = 2, .vocab_size = 5};
  bert.own.get<RotaryOptions>().base = 5;
  CHECK_THROWS_WITH_AS(make_model(bert), "model.rotary_base is an option of gpt2's and gpt_neox's, the model is a bert",
                       UsageError);
  ModelConfig gpt2{.hidden_size = 16, .num_heads = 2, .vocab_size = 5};
  gpt2.own.get<NeoxOptions>().parallel_residual = false;
  CHECK_THROWS_WITH_AS(make_model(gpt2), "model.parallel_residual is an option of gpt_neox's, the model is a gpt2",
                       UsageError);
}

TEST_CASE("gpt2 with rotary positions: packing, recomputation, threads, derivatives; saved as a type of our own") {
  on_every_backend([](Bench& bench) {
    const Golden golden{"tests/golden/gpt2"};  // gives batch and tolerances
    const auto model = rotary_gpt2(bench);
    const ModelRun run{bench, *model};
    CHECK(model->parameters().find("embedding.positions") == nullptr);
    check_packing(run, golden);
    check_recomputation(run, golden.batch());
    check_threads(run, golden.batch());
    if (bench.compute == DType::f32) check_derivatives(run, golden.batch());
    const TemporaryFolder folder;
    save_model(folder.path(), *model);
    const json config = json::parse(read_text(folder.path() / "config.json"));
    CHECK(config["model_type"] == "engine_gpt2");
    CHECK(config["architectures"] == json{"EngineGPT2LMHeadModel"});
    const auto loaded = load(bench, folder.path(), false);
    CHECK(loaded->config().own.get<RotaryOptions>().base == 100);
    CHECK(same_bits(ModelRun(bench, *loaded).logits(golden.batch()), run.logits(golden.batch())));
    // Another order of the same tokens gives the last row other logits: positions count.
    Batch batch{.tokens = {3, 9, 4, 5}, .offsets = {0, 4}}, turned{.tokens = {9, 3, 4, 5}, .offsets = {0, 4}};
    const std::vector<double> logits = run.logits(batch), others = run.logits(turned);
    CHECK(relative_difference({others.end() - 61, others.end()}, {logits.end() - 61, logits.end()}) > 0.01);
  });
}

}  // namespace engine::test::test_neox
