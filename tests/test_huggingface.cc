// Model folders: every form of one that published models come in, and every way in which one can be wrong.
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/bf16.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/safetensors.h"
#include "models/gpt2.h"
#include "models/huggingface.h"
#include "tests/temporary.h"

namespace engine::test::test_huggingface {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path golden_model = "tests/golden/gpt2/model";

// The golden model's folder, to be changed.
struct Folder {
  TemporaryFolder folder;
  json config = json::parse(read_text(golden_model / "config.json"));
  std::vector<SafetensorsItem> tensors;

  Folder() {
    const Safetensors file = Safetensors::open(golden_model / "model.safetensors");
    for (const auto& [name, entry] : file.entries())
      add(name, entry.shape, std::string(entry.data, entry.bytes), entry.dtype);
  }
  void add(const std::string& name, const std::vector<int64_t>& shape, const std::string& bytes,
           const std::string& dtype = "F32") {
    tensors.push_back({name, dtype, shape, [bytes](char* to) { std::memcpy(to, bytes.data(), bytes.size()); }});
  }
  SafetensorsItem& at(const std::string& name) {
    for (SafetensorsItem& tensor : tensors)
      if (tensor.name == name) return tensor;
    FAIL("no tensor ", name);
    return tensors[0];
  }
  void remove(const std::string& name) {
    std::erase_if(tensors, [&](const SafetensorsItem& tensor) { return tensor.name == name; });
  }
  std::string bytes(const std::string& name) {
    const Safetensors file = Safetensors::open(golden_model / "model.safetensors");
    return {file.at(name).data, file.at(name).bytes};
  }
  const fs::path& path() const { return folder.path(); }
  void write() const {
    write_file(path() / "config.json", config.dump());
    write_safetensors(path() / "model.safetensors", tensors);
  }
  // Returns what loading reports behind the folder's name, or nothing where the model is the golden one.
  std::string load() const {
    try {
      const auto model = load_model(path(), host_memory(), false, {.kinds = generating_kinds});
      const auto golden = load_model(golden_model, host_memory(), false, {.kinds = generating_kinds});
      for (const Parameter& p : golden->parameters().all())
        if (std::memcmp(p.value.data, model->parameters().at(p.name).value.data, p.value.bytes()) != 0)
          return p.name + " has other values";
      return "";
    } catch (const Error& error) {
      const std::string text = error.what();
      CHECK(text.find('\n') == std::string::npos);
      const size_t place = text.find(path().string());
      REQUIRE(place != std::string::npos);
      return text.substr(place + path().string().size());
    }
  }
  std::string written_and_loaded() const {
    write();
    return load();
  }
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("huggingface: a folder as transformers writes it, and what we save of it") {
  const ModelConfig config = read_model_config(golden_model);
  CHECK(config.architecture == "gpt2");
  CHECK(config.hidden_size == 40);
  CHECK(config.num_layers == 3);
  CHECK(config.num_heads == 5);
  CHECK(config.inner_size() == 99);
  CHECK(config.vocab_size == 61);
  CHECK(config.max_positions == 33);
  CHECK(config.activation == "gelu_tanh");
  CHECK(config.dropout == 0.1f);
  CHECK(config.attention_dropout == 0.1f);
  CHECK(config.layer_norm_epsilon == 3e-5f);
  CHECK(config.bos_token == 1);
  CHECK(config.eos_tokens == std::vector<int32_t>{2});
  CHECK(config.pad_token == -1);
  CHECK(Folder().written_and_loaded() == "");

  const TemporaryFolder saved;
  const auto model = load_model(golden_model, host_memory(), false, {.kinds = generating_kinds});
  save_model(saved.path(), *model, "BF16");
  const json ours = json::parse(read_text(saved.path() / "config.json"));
  const json theirs = json::parse(read_text(golden_model / "config.json"));
  for (const auto& [key, value] : ours.items()) {
    CAPTURE(key);
    if (key == "dtype") CHECK(value == "bfloat16");
    if (key != "dtype" && key != "n_ctx") CHECK(value == theirs.at(key));
  }
  const json generation = json::parse(read_text(saved.path() / "generation_config.json"));
  CHECK(generation.at("bos_token_id") == 1);
  CHECK(generation.at("eos_token_id") == 2);
  CHECK(generation.at("pad_token_id").is_null());
  const Safetensors file = Safetensors::open(saved.path() / "model.safetensors");
  const Safetensors golden = Safetensors::open(golden_model / "model.safetensors");
  CHECK(file.entries().size() == golden.entries().size());
  for (const auto& [name, entry] : file.entries()) {
    CAPTURE(name);
    CHECK(entry.dtype == "BF16");
    REQUIRE(entry.shape == golden.at(name).shape);
    std::vector<float> rounded = golden.floats(name);
    for (float& value : rounded) value = static_cast<float>(bf16(value));
    CHECK(file.floats(name) == rounded);
  }
}

TEST_CASE("huggingface: forms that published folders have") {
  SUBCASE("names without prefix, buffers of older versions, an output projection that is the embedding") {
    Folder folder;
    for (SafetensorsItem& tensor : folder.tensors) tensor.name = tensor.name.substr(std::strlen("transformer."));
    for (int layer = 0; layer < 3; ++layer) {
      folder.add("h." + std::to_string(layer) + ".attn.bias", {1, 1, 3, 3}, std::string(9, '\1'), "U8");
      folder.add("h." + std::to_string(layer) + ".attn.masked_bias", {}, std::string(4, '\0'));
    }
    folder.add("lm_head.weight", {61, 40}, folder.bytes("transformer.wte.weight"));
    CHECK(folder.written_and_loaded() == "");
  }
  SUBCASE("shards by an index") {
    Folder folder;
    folder.write();
    json weight_map;
    std::vector<SafetensorsItem> shards[2];
    for (size_t i = 0; i < folder.tensors.size(); ++i) {
      shards[i % 2].push_back(folder.tensors[i]);
      weight_map[folder.tensors[i].name] = i % 2 ? "b.safetensors" : "a.safetensors";
    }
    write_safetensors(folder.path() / "a.safetensors", shards[0]);
    write_safetensors(folder.path() / "b.safetensors", shards[1]);
    write_file(folder.path() / "model.safetensors.index.json", json{{"weight_map", weight_map}}.dump());
    fs::remove(folder.path() / "model.safetensors");
    CHECK(folder.load() == "");
    fs::remove(folder.path() / "b.safetensors");
    CHECK(folder.load() == "/b.safetensors: No such file or directory");
  }
  SUBCASE("other dtypes") {
    for (const std::string dtype : {"F16", "BF16"}) {
      Folder folder;
      const auto model = load_model(golden_model, host_memory(), false, {.kinds = generating_kinds});
      save_model(folder.path(), *model, dtype);
      const auto loaded = load_model(folder.path(), host_memory(), false, {.kinds = generating_kinds});
      // transformer.h.1.mlp.c_fc.weight is [40, 99] in the file, the parameter its transpose
      const std::vector<float> stored =
          Safetensors::open(folder.path() / "model.safetensors").floats("transformer.h.1.mlp.c_fc.weight");
      const float* values = loaded->parameters().at("layers.1.feed_forward.up.weight").value.as<float>();
      int wrong = 0;
      for (size_t in = 0; in < 40; ++in)
        for (size_t out = 0; out < 99; ++out) wrong += stored[in * 99 + out] != values[out * 40 + in];
      CHECK(wrong == 0);
    }
  }
  SUBCASE("a config of the barest kind") {
    Folder folder;
    for (const char* key : {"model_type", "dtype", "pad_token_id", "scale_attn_weights", "tie_word_embeddings",
                            "add_cross_attention", "scale_attn_by_inverse_layer_idx", "use_cache"})
      folder.config.erase(key);
    folder.config["n_ctx"] = 33;
    folder.config.erase("n_positions");
    CHECK(folder.written_and_loaded() == "");
    folder.config["eos_token_id"] = 50256;  // beyond the vocabulary: no token ever is it
    folder.write();
    CHECK(read_model_config(folder.path()).eos_tokens.empty());
  }
  SUBCASE("the folder that a killed writer set aside") {
    Folder folder;
    folder.write();
    fs::create_directory(folder.path() / ".model.old");
    for (const char* name : {"config.json", "model.safetensors"})
      fs::rename(folder.path() / name, folder.path() / ".model.old" / name);
    const auto model = load_model(folder.path() / "model", host_memory(), false, {.kinds = generating_kinds});
    CHECK(model->config().hidden_size == 40);
  }
}

TEST_CASE("huggingface: configs that are wrong, or of what is not done here") {
  const auto error_with = [](const char* key, const json& value) {
    Folder folder;
    folder.config[key] = value;
    const std::string text = folder.written_and_loaded();
    INFO(key, " ", value.dump(), " gave ", text);
    CHECK(text.starts_with("/config.json: "));
    return text;
  };
  for (const char* key : {"n_embd", "n_layer", "n_head", "n_inner", "vocab_size", "n_positions"})
    for (const json& value : {json(0), json(-1), json(1.5), json("40"), json(int64_t{1} << 62), json::array()})
      CHECK(contains(error_with(key, value), key));
  CHECK(contains(error_with("n_head", 7), "not a multiple"));
  CHECK(contains(error_with("activation_function", "gelu_10"), "gelu_10"));
  CHECK(contains(error_with("activation_function", 3), "activation_function"));
  CHECK(contains(error_with("scale_attn_weights", false), "scale_attn_weights"));
  CHECK(contains(error_with("scale_attn_by_inverse_layer_idx", true), "scale_attn_by_inverse_layer_idx"));
  CHECK(contains(error_with("add_cross_attention", true), "add_cross_attention"));
  CHECK(contains(error_with("tie_word_embeddings", 3), "tie_word_embeddings"));
  CHECK(contains(error_with("embd_pdrop", 1.2), "embd_pdrop"));
  CHECK(contains(error_with("attn_pdrop", -0.1), "dropout"));
  CHECK(contains(error_with("layer_norm_epsilon", -1), "layer_norm_epsilon"));
  CHECK(contains(error_with("initializer_range", 1e38), "initializer_range"));
  CHECK(contains(error_with("eos_token_id", "x"), "eos_token_id"));
  CHECK(contains(error_with("eos_token_id", {2, "x"}), "eos_token_id"));
  CHECK(contains(error_with("model_type", "llama"), "\"llama\""));
  CHECK(contains(error_with("model_type", 1), "model_type"));
}

TEST_CASE("huggingface: keys and tensors in every form that transformers reads") {
  Folder folder;
  const auto config = [&] {
    folder.write();
    return read_model_config(folder.path());
  };
  SUBCASE("the general names of sizes, which count where both are there") {
    for (const auto& [general, own] : {std::pair{"hidden_size", "n_embd"}, {"num_hidden_layers", "n_layer"},
                                       {"num_attention_heads", "n_head"}, {"max_position_embeddings", "n_positions"}}) {
      folder.config[general] = folder.config[own];
      folder.config[own] = 7;
    }
    CHECK(folder.written_and_loaded() == "");
    for (const char* own : {"n_embd", "n_layer", "n_head", "n_positions"}) folder.config.erase(own);
    CHECK(folder.written_and_loaded() == "");
  }
  SUBCASE("rates of dropout by their places") {
    folder.config["embd_pdrop"] = 0.25;
    folder.config["resid_pdrop"] = 0.5;
    CHECK(config().dropout == 0.5f);
    CHECK(config().own.get<Gpt2Options>().rate_of_embeddings(config()) == 0.25f);
    const auto model = load_model(folder.path(), host_memory(), false);
    const TemporaryFolder saved;
    save_model(saved.path(), *model);
    const json again = json::parse(read_text(saved.path() / "config.json"));
    CHECK(again.at("embd_pdrop") == 0.25);
    CHECK(again.at("resid_pdrop") == 0.5);
  }
  SUBCASE("a list of tokens that end a text is kept") {
    folder.config["eos_token_id"] = {2, 5, 50256, 2};
    CHECK(config().eos_tokens == std::vector<int32_t>{2, 5});
    CHECK(config().end_tokens() == std::vector<int32_t>{2, 5});
    const TemporaryFolder saved;
    save_model(saved.path(), *load_model(folder.path(), host_memory(), false));
    for (const char* name : {"config.json", "generation_config.json"})
      CHECK(json::parse(read_text(saved.path() / name)).at("eos_token_id") == json({2, 5}));
    // The file of generation has the last word on where generation stops.
    write_file(folder.path() / "generation_config.json", R"({"eos_token_id": [7]})");
    CHECK(config().end_tokens() == std::vector<int32_t>{7});
    save_model(saved.path(), *load_model(folder.path(), host_memory(), false));
    CHECK(json::parse(read_text(saved.path() / "config.json")).at("eos_token_id") == json({2, 5}));
    CHECK(json::parse(read_text(saved.path() / "generation_config.json")).at("eos_token_id") == 7);
  }
  SUBCASE("the output projection alone, with prefix and without") {
    folder.at("transformer.wte.weight").name = "lm_head.weight";
    CHECK(folder.written_and_loaded() == "");
    for (SafetensorsItem& tensor : folder.tensors)
      if (tensor.name.starts_with("transformer.")) tensor.name = tensor.name.substr(12);
    CHECK(folder.written_and_loaded() == "");
    folder.config["vocab_size"] = 60;
    CHECK(contains(folder.written_and_loaded(), "lm_head.weight is [61, 40], it should be [60, 40]"));
  }
  SUBCASE("tensors that the model does not have are reported") {
    folder.add("transformer.score.weight", {1}, std::string(4, '\0'));
    folder.add("transformer.h.3.ln_1.bias", {40}, std::string(160, '\0'));
    CHECK(folder.written_and_loaded() == "");
    LoadReport report;
    load_model(folder.path(), host_memory(), false, {.report = &report});
    CHECK(report.text() == "loaded trunk; left out transformer.h.3.ln_1.bias, transformer.score.weight");
  }
}

TEST_CASE("huggingface: folders that are torn or no folders") {
  Folder folder;
  const auto expect = [&](const std::string& part) {
    const std::string text = folder.load();
    INFO(text);
    CHECK(contains(text, part));
  };
  expect("has no config.json");
  write_file(folder.path() / "config.json", "{\"model_type\": \"gpt2\"");
  expect("/config.json");
  write_file(folder.path() / "config.json", "[]");
  expect("should be a JSON object");
  write_file(folder.path() / "config.json", "{}");
  expect("\"model_type\" is missing");
  folder.write();
  const std::string bytes = read_text(folder.path() / "model.safetensors");
  for (size_t size : {size_t{0}, size_t{7}, size_t{8}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    write_file(folder.path() / "model.safetensors", bytes.substr(0, size));
    expect("/model.safetensors: ");
  }
  fs::remove(folder.path() / "model.safetensors");
  expect("has no model.safetensors");
  write_file(folder.path() / "pytorch_model.bin", "");
  expect("pytorch_model.bin is not read: load it with transformers, and save it with save_pretrained");
  fs::rename(folder.path() / "pytorch_model.bin", folder.path() / "pytorch_model.bin.index.json");
  expect("pytorch_model.bin.index.json is not read");
  fs::rename(folder.path() / "pytorch_model.bin.index.json", folder.path() / "model.fp16.safetensors");
  expect("model.fp16.safetensors has a name by which transformers does not find it");
  CHECK_THROWS_WITH_AS(read_model_config(folder.path() / "config.json"),
                       ((folder.path() / "config.json").string() + ": there is no such model folder").c_str(), Error);
}

TEST_CASE("huggingface: tensors that are missing, misshapen, unknown or not tied are named") {
  const auto error_after = [](const std::function<void(Folder&)>& change) {
    Folder folder;
    change(folder);
    const std::string text = folder.written_and_loaded();
    CHECK(text.starts_with("/model.safetensors: "));
    return text.substr(std::strlen("/model.safetensors: "));
  };
  CHECK(error_after([](Folder& f) { f.remove("transformer.h.1.ln_2.bias"); }) ==
        "missing tensors: transformer.h.1.ln_2.bias [40]");
  CHECK(error_after([](Folder& f) { f.config["n_layer"] = 4; }) ==
        "missing tensors: transformer.h.3.ln_1.weight [40], transformer.h.3.ln_1.bias [40], "
        "transformer.h.3.attn.c_attn.weight [40, 120], transformer.h.3.attn.c_attn.bias [120] and 8 more");
  CHECK(error_after([](Folder& f) { f.config["tie_word_embeddings"] = false; }) ==
        "missing tensors: lm_head.weight [61, 40]");
  CHECK(error_after([](Folder& f) { f.at("transformer.h.0.mlp.c_fc.weight").shape = {99, 40}; }) ==
        "transformer.h.0.mlp.c_fc.weight is [99, 40], it should be [40, 99] by config.json");
  CHECK(error_after([](Folder& f) { f.config["vocab_size"] = 60; }) ==
        "transformer.wte.weight is [61, 40], it should be [60, 40] by config.json");
  CHECK(error_after([](Folder& f) {
          f.remove("transformer.ln_f.bias");
          f.add("transformer.ln_f.bias", {40}, std::string(160, '\0'), "I32");
        }) == "transformer.ln_f.bias holds I32, it should be F32, F16, BF16 or F64");
  CHECK(error_after([](Folder& f) { f.at("transformer.wpe.weight").name = "wpe.weight"; }) ==
        "missing tensors: transformer.wpe.weight [33, 40]; tensors that this model does not have: wpe.weight");
  CHECK(error_after([](Folder& f) {
          f.add("lm_head.weight", {1}, std::string(4, '\0'));
        }) == "lm_head.weight is [1], it should be [61, 40] by config.json");
}

TEST_CASE("huggingface: matrices that are written in several pieces") {
  ModelConfig config;
  config.hidden_size = 728;  // the feed-forward weights have 8.5 MB
  config.num_layers = 1;
  config.vocab_size = 7;
  config.max_positions = 5;
  const auto model = make_model(config);
  model->parameters().allocate(host_memory(), false);
  model->parameters().initialise(3);
  const TemporaryFolder folder;
  save_model(folder.path(), *model);
  const auto loaded = load_model(folder.path(), host_memory(), false, {.kinds = generating_kinds});
  for (const Parameter& p : model->parameters().all()) {
    CAPTURE(p.name);
    CHECK(std::memcmp(p.value.data, loaded->parameters().at(p.name).value.data, p.value.bytes()) == 0);
  }
}

TEST_CASE("huggingface: what cannot be written is an error and the old files stay") {
  const TemporaryFolder folder;
  const auto model = load_model(golden_model, host_memory(), false, {.kinds = generating_kinds});
  CHECK_THROWS_AS(save_model(folder.path() / "missing", *model), Error);
  CHECK_THROWS_AS(save_model(folder.path(), *model, "F8"), Error);
  CHECK(fs::is_empty(folder.path()));
  save_model(folder.path(), *model);
  const auto all_text = [&] {
    return read_text(folder.path() / "model.safetensors") + read_text(folder.path() / "config.json") +
           read_text(folder.path() / "generation_config.json");
  };
  const std::string before = all_text();
  model->parameters().at("layers.2.attention.qkv.weight").value.as<float>()[7] = 1e6f;
  try {
    save_model(folder.path(), *model, "F16");
    FAIL("1e6 was written as F16");
  } catch (const Error& error) {
    CHECK(contains(error.what(), "transformer.h.2.attn.c_attn.weight"));
  }
  CHECK(all_text() == before);
}

}  // namespace engine::test::test_huggingface
