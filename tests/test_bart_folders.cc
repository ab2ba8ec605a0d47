// These tests cover the forms of BART's folders, what is kept when one is saved again, and what is refused.
#include <doctest/doctest.h>

#include <functional>

#include "models/bart.h"
#include "models/positions.h"
#include "models/huggingface.h"
#include "tests/changed_folder.h"

namespace engine::test::test_bart_folders {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path golden_folder = "tests/golden/bart";

std::unique_ptr<Model> load(const fs::path& folder) {
  return load_model(folder, host_memory(), false, {.kinds = generating_kinds});
}

bool same_values(Model& a, Model& b) {
  if (a.parameters().all().size() != b.parameters().all().size()) return false;
  for (const Parameter& p : a.parameters().all()) {
    const Parameter& other = b.parameters().at(p.name);
    if (p.shape != other.shape || std::memcmp(p.value.data, other.value.data, p.value.bytes())) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("bart folders: names without prefix, tied tensors, older configs") {
  const auto golden = load(golden_folder / "plain" / "model");
  ChangedFolder folder(golden_folder / "plain" / "model");
  const Safetensors file = Safetensors::open(golden_folder / "plain" / "model" / "model.safetensors");
  const auto& embedding = file.at("model.shared.weight");
  for (const std::string name : {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
                                 "lm_head.weight"})
    folder.add(name, embedding.shape, std::string(embedding.data, embedding.bytes));
  CHECK(same_values(*load(folder.write()), *golden));
  folder.config["architectures"] = {"BartModel"};
  folder.remove("lm_head");
  folder.remove("final_logits_bias");
  for (SafetensorsItem& tensor : folder.tensors)
    if (tensor.name.starts_with("model.")) tensor.name = tensor.name.substr(6);
  CHECK(same_values(*load(folder.write()), *golden));
  // Missing keys have the values of transformers' BartConfig.
  for (const char* key : {"activation_function", "dropout", "forced_eos_token_id", "decoder_start_token_id"})
    folder.config.erase(key);
  const ModelConfig config = load(folder.write())->config();
  CHECK(config.activation == "gelu");
  CHECK(config.dropout == 0.1f);
  CHECK(config.own.get<BartOptions>().decoder_start_token == 2);
  CHECK(config.own.get<BartOptions>().forced_eos_token == 2);
  CHECK(config.own.get<BartOptions>().forced_bos_token == -1);
}

TEST_CASE("bart folders: one of the tied tensors, a rate of the inner values, several tokens that end a text") {
  const auto golden = load(golden_folder / "plain" / "model");
  for (const char* only : {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
                           "lm_head.weight"}) {
    CAPTURE(only);
    ChangedFolder folder(golden_folder / "plain" / "model");
    folder.rename("model.shared.weight", only);
    CHECK(same_values(*load(folder.write()), *golden));
  }
  ChangedFolder folder(golden_folder / "plain" / "model");
  folder.config["activation_dropout"] = 0.25;
  folder.config["eos_token_id"] = {2, 9};
  const auto model = load(folder.write());
  CHECK(model->config().own.get<BartOptions>().activation_dropout == 0.25f);
  const TemporaryFolder saved;
  save_model(saved.path(), *model);
  const json config = json::parse(read_text(saved.path() / "config.json"));
  CHECK(config.at("activation_dropout") == 0.25);
  CHECK(config.at("eos_token_id") == json({2, 9}));
}

TEST_CASE("bart folders: tokens, sizes and the logits' bias are kept; other positions are this engine's own") {
  ChangedFolder changed(golden_folder / "scaled" / "model");
  changed.config["forced_eos_token_id"] = 5;
  write_file(changed.folder.path() / "generation_config.json",
             json{{"forced_bos_token_id", 7}, {"decoder_start_token_id", 4}}.dump());
  const auto model = load(changed.write());
  const TemporaryFolder saved;
  save_model(saved.path(), *model);
  const auto again = load(saved.path());
  for (const Model* one : {model.get(), again.get()}) {
    CHECK(one->config().own.get<BartOptions>().forced_bos_token == 7);
    // generation_config.json alone counts for what is forced.
    CHECK(one->config().own.get<BartOptions>().forced_eos_token == -1);
    CHECK(one->config().own.get<BartOptions>().decoder_start_token == 4);
    CHECK(one->config().own.get<BartOptions>().scale_embedding);
    CHECK(one->config().own.get<BartOptions>().decoder_layers == 3);
    CHECK(one->config().own.get<BartOptions>().output_bias.size() == 53);
  }
  CHECK(again->config().own.get<BartOptions>().output_bias == model->config().own.get<BartOptions>().output_bias);
  const json config = json::parse(read_text(saved.path() / "config.json"));
  CHECK(config.at("model_type") == "bart");
  CHECK(config.at("is_encoder_decoder") == true);
  CHECK(config.at("architectures").at(0) == "BartForConditionalGeneration");
  const auto names = [](const fs::path& folder) {
    std::vector<std::string> all;
    const Safetensors file = Safetensors::open(folder / "model.safetensors");
    for (const auto& [name, entry] : file.entries()) all.push_back(name);
    return all;
  };
  CHECK(names(saved.path()) == names(golden_folder / "scaled" / "model"));

  ModelConfig other = model->config();
  other.own.get<PositionOptions>().positions = "none";
  const auto own = make_model(other);
  own->parameters().allocate(host_memory(), false);
  own->parameters().initialise(3);
  const TemporaryFolder of_own;
  save_model(of_own.path(), *own);
  CHECK(json::parse(read_text(of_own.path() / "config.json")).at("model_type") == "engine_bart");
  CHECK(same_values(*load(of_own.path()), *own));
}

TEST_CASE("bart folders: tables that differ are tables of their own, as in transformers") {
  const auto values = [](Model& model, const char* name) {
    const Tensor& value = model.parameters().at(name).value;
    return std::vector<float>(value.as<float>(), value.as<float>() + value.count());
  };
  constexpr const char *lm_head = "lm_head.weight", *encoder = "model.encoder.embed_tokens.weight",
                       *decoder = "model.decoder.embed_tokens.weight";
  const std::vector<std::pair<const char*, const char*>> tables{
      {lm_head, "lm_head.weight"}, {encoder, "encoder.embedding.tokens"}, {decoder, "decoder.embedding.tokens"}};
  const auto golden = load(golden_folder / "plain" / "model");
  const std::vector<float> shared = values(*golden, "embedding.tokens");
  for (const auto& [theirs, ours] : tables) {
    CAPTURE(theirs);
    ChangedFolder folder(golden_folder / "plain" / "model");
    std::string ones;
    for (int i = 0; i < 53 * 20; ++i) ones += std::string("\0\0\x80\x3f", 4);
    folder.add(theirs, {53, 20}, ones);
    LoadReport report;
    const auto model = load_model(folder.write(), host_memory(), false, {.report = &report});
    CHECK(report.left_out.empty());
    for (const auto& [other, name] : tables)
      CHECK(values(*model, name) == (other == theirs ? std::vector<float>(53 * 20, 1.0f) : shared));
    const TemporaryFolder saved;
    save_model(saved.path(), *model);
    CHECK(json::parse(read_text(saved.path() / "config.json")).at("tie_word_embeddings") == false);
    CHECK(same_values(*load(saved.path()), *model));
    // Transformers looks for the table of both sides, too.
    const Safetensors file = Safetensors::open(saved.path() / "model.safetensors");
    CHECK(file.floats("model.shared.weight") == values(*model, "encoder.embedding.tokens"));
    // A config that unties needs a table for the logits.
    folder.config["tie_word_embeddings"] = false;
    if (theirs == lm_head) CHECK(same_values(*load(folder.write()), *model));
    else CHECK_THROWS_WITH_AS(load(folder.write()), doctest::Contains("missing tensors: lm_head.weight"), Error);
  }
}

TEST_CASE("bart folders: what is missing, misshapen or not done here is named") {
  const auto error_after = [](const std::function<void(ChangedFolder&)>& change) -> std::string {
    ChangedFolder folder(golden_folder / "plain" / "model");
    change(folder);
    try {
      load(folder.write());
      return "";
    } catch (const Error& error) {
      return std::string(error.what()).substr(folder.folder.path().string().size());
    }
  };
  CHECK(error_after([](ChangedFolder&) {}) == "");
  CHECK(error_after([](ChangedFolder& f) { f.remove("decoder.layers.2.encoder_attn.v_proj.bias"); }) ==
        "/model.safetensors: missing tensors: model.decoder.layers.2.encoder_attn.v_proj.bias [20]");
  CHECK(error_after([](ChangedFolder& f) {
          f.remove("final_logits_bias");
          f.add("final_logits_bias", {53}, std::string(53 * 4, '\0'));
        }) == "/model.safetensors: final_logits_bias is [53], it should be [1, 53] by config.json");
  CHECK(error_after([](ChangedFolder& f) { f.config["tie_word_embeddings"] = false; }) ==
        "/model.safetensors: missing tensors: lm_head.weight [53, 20]");
  for (const auto& [key, value] : std::vector<std::pair<std::string, json>>{{"decoder_ffn_dim", 34},
                                                                            {"decoder_attention_heads", 5},
                                                                            {"encoder_layers", 0},
                                                                            {"normalize_before", true},
                                                                            {"dropout", 1.5},
                                                                            {"activation_function", "gelu_10"}}) {
    CAPTURE(key);
    const std::string text = error_after([&](ChangedFolder& f) { f.config[key] = value; });
    CHECK(text.starts_with("/config.json: "));
    CHECK(text.find(key == "activation_function" ? "gelu_10" : key) != std::string::npos);
  }
  const std::string unknown = error_after([](ChangedFolder& f) {
    f.config["model_type"] = "engine_bart";
    f.config["positions"] = "rotary";
  });
  CHECK(unknown.starts_with("/config.json: model.positions is \"rotary\", those of a bart are learned, sinusoidal or "
                            "none"));
  ModelConfig gpt2{.vocab_size = 5};
  gpt2.own.get<PositionOptions>().positions = "none";
  CHECK_THROWS_WITH_AS(make_model(gpt2),
                       "model.positions is \"none\", those of a gpt2 are learned, rotary, sinusoidal or random",
                       UsageError);
}

}  // namespace engine::test::test_bart_folders
