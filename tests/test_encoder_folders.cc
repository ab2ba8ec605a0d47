// Folders of encoders: every form in which they come, and what becomes of their parts when the task changes.
#include <doctest/doctest.h>

#include <functional>

#include "models/huggingface.h"
#include "tests/changed_folder.h"

namespace engine::test {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const fs::path golden_folder = "tests/golden/bert";

struct Folder : ChangedFolder {
  explicit Folder(const std::string& name) : ChangedFolder(golden_folder / name / "model") {}
  std::unique_ptr<Model> load(const LoadRequest& request = {}) const {
    return load_model(write(), host_memory(), false, request);
  }
  std::string error(const LoadRequest& request = {}) const {
    try {
      load(request);
      return "";
    } catch (const Error& error) {
      return std::string(error.what()).substr(folder.path().string().size());
    }
  }
};

bool same_values(Parameter& a, Parameter& b) {
  return a.shape == b.shape && std::memcmp(a.value.data, b.value.data, a.value.bytes()) == 0;
}

// How many of a model's parameters another has with the same values.
size_t equal_parameters(Model& model, Model& other) {
  size_t equal = 0;
  for (Parameter& p : model.parameters().all())
    if (Parameter* const same = other.parameters().find(p.name)) equal += same_values(p, *same);
  return equal;
}

std::string bytes_of(size_t floats) { return std::string(floats * sizeof(float), '\0'); }

}  // namespace

TEST_CASE("encoder folders: names without prefix, old names of gains, buffers, other heads, tied projections") {
  for (const std::string name : {"bert_masked", "bert_classes", "distilbert_masked", "distilbert_classes"}) {
    CAPTURE(name);
    const Folder as_it_is(name);
    const auto golden = as_it_is.load();
    const size_t all = golden->parameters().all().size();
    LoadReport report;
    const bool masked = name.find("masked") != std::string::npos;
    CHECK(equal_parameters(*as_it_is.load({.report = &report}), *golden) == all);
    CHECK(report.text() == (masked ? "loaded masked_head, trunk" : "loaded classifier, pooler, trunk"));

    Folder other(name);
    other.rename(name.starts_with("bert") ? "bert." : "distilbert.", "");
    other.rename("LayerNorm.weight", "LayerNorm.gamma");
    other.rename("LayerNorm.bias", "LayerNorm.beta");
    other.add("embeddings.position_ids", {1, 23}, std::string(23 * 8, '\0'), "I64");
    if (name == "bert_masked") {
      const auto embedding = Safetensors::open(golden_folder / name / "model" / "model.safetensors");
      const auto& entry = embedding.at("bert.embeddings.word_embeddings.weight");
      other.add("cls.predictions.decoder.weight", {53, 20}, std::string(entry.data, entry.bytes));
      other.add("cls.seq_relationship.bias", {2}, bytes_of(2));
      other.add("pooler.dense.bias", {20}, bytes_of(20));
    }
    CHECK(equal_parameters(*other.load({.report = &report}), *golden) == all);
    CHECK(report.left_out == (name == "bert_masked"
                                  ? std::vector<std::string>{"cls.seq_relationship.bias", "pooler.dense.bias"}
                                  : std::vector<std::string>{}));
  }
}

TEST_CASE("encoder folders: one of two tied tensors, tensors of other models, keys by their general names") {
  LoadReport report;
  for (const std::string name : {"bert_masked", "distilbert_masked"}) {
    CAPTURE(name);
    const bool is_bert = name == "bert_masked";
    const auto golden = Folder(name).load();
    Folder folder(name);
    folder.rename(is_bert ? "bert.embeddings.word_embeddings.weight" : "distilbert.embeddings.word_embeddings.weight",
                  is_bert ? "cls.predictions.decoder.weight" : "vocab_projector.weight");
    if (is_bert) folder.rename("cls.predictions.bias", "cls.predictions.decoder.bias");
    folder.add("adapter.weight", {1}, bytes_of(1));
    CHECK(equal_parameters(*folder.load({.report = &report}), *golden) == golden->parameters().all().size());
    CHECK(report.left_out == std::vector<std::string>{"adapter.weight"});
    folder.config["tie_word_embeddings"] = false;
    CHECK(folder.error().find("tie_word_embeddings") != std::string::npos);
  }
  // Without logits over the vocabulary nothing is tied.
  Folder classes("bert_classes");
  classes.config["tie_word_embeddings"] = false;
  CHECK(classes.error() == "");
  CHECK(classes.error({.head = HeadKind::masked}).find("tie_word_embeddings") != std::string::npos);
  Folder general("distilbert_classes");
  for (const auto& [name, own] :
       {std::pair{"hidden_size", "dim"}, {"num_hidden_layers", "n_layers"}, {"num_attention_heads", "n_heads"}}) {
    general.config[name] = general.config[own];
    general.config.erase(own);
  }
  CHECK(general.error() == "");
}

TEST_CASE("encoder folders: a trunk alone, with a pooler or without, is saved by its own names") {
  Folder folder("bert_classes");
  const auto golden = folder.load();
  folder.config["architectures"] = {"BertModel"};
  folder.remove("classifier");
  const auto with_pooler = folder.load();
  CHECK(equal_parameters(*with_pooler, *golden) == with_pooler->parameters().all().size());
  CHECK(with_pooler->parameters().find("pooler.weight"));
  CHECK_THROWS_AS(with_pooler->head(), Error);
  const TemporaryFolder saved;
  save_model(saved.path(), *with_pooler);
  const Safetensors file = Safetensors::open(saved.path() / "model.safetensors");
  CHECK(file.entries().contains("pooler.dense.weight"));
  CHECK(file.entries().contains("encoder.layer.1.attention.self.key.bias"));
  CHECK(file.entries().size() == folder.tensors.size());
  CHECK(json::parse(read_text(saved.path() / "config.json")).at("architectures").at(0) == "BertModel");
  folder.remove("pooler");
  CHECK_FALSE(folder.load()->parameters().find("pooler.weight"));
}

TEST_CASE("encoder folders: another task keeps the trunk and begins a head, the same task loads everything") {
  LoadReport report;
  const auto masked = Folder("bert_masked").load();
  const LoadRequest to_classes{.head = HeadKind::classification, .labels = {"a", "b"}, .report = &report};
  const auto classes = Folder("bert_masked").load(to_classes);
  CHECK(report.text() == "loaded trunk; new classifier, pooler; left out cls.predictions.bias, "
                         "cls.predictions.transform.LayerNorm.bias, cls.predictions.transform.LayerNorm.weight, "
                         "cls.predictions.transform.dense.bias and 1 more");
  CHECK(classes->parameters().at("classifier.weight").shape == Shape{2, 20});
  CHECK(classes->parameters().at("classifier.weight").value.as<float>()[0] != 0);
  CHECK(equal_parameters(*masked, *classes) == masked->parameters().all().size() - 5);
  LoadRequest other_seed = to_classes;
  other_seed.seed = 2;
  CHECK_FALSE(same_values(Folder("bert_masked").load(other_seed)->parameters().at("pooler.weight"),
                          classes->parameters().at("pooler.weight")));

  Folder trunk("bert_classes");
  trunk.config["architectures"] = {"BertModel"};
  trunk.remove("classifier");
  trunk.load(to_classes);
  CHECK(report.text() == "loaded pooler, trunk; new classifier");
  Folder("bert_classes").load({.labels = {"a", "b"}, .report = &report});
  CHECK(report.text() == "loaded pooler, trunk; new classifier; left out classifier.bias, classifier.weight");
  Folder("bert_classes").load({.head = HeadKind::classification, .labels = {"a", "b", "c"}, .report = &report});
  CHECK(report.text() == "loaded classifier, pooler, trunk");
  Folder("distilbert_classes").load({.head = HeadKind::masked, .report = &report});
  CHECK(report.text() == "loaded trunk; new masked_head; left out classifier.bias, classifier.weight, "
                         "pre_classifier.bias, pre_classifier.weight");
  Folder("distilbert_classes").load({.head = HeadKind::none, .report = &report});
  CHECK(report.loaded == std::vector<std::string>{"trunk"});
}

TEST_CASE("encoder folders: what is missing, misshapen, unknown or not done here is named") {
  const auto error_after = [](const std::function<void(Folder&)>& change, const LoadRequest& request = {}) {
    Folder folder("bert_classes");
    change(folder);
    return folder.error(request);
  };
  CHECK(error_after([](Folder& f) { f.remove("layer.1.attention.self.value.bias"); }) ==
        "/model.safetensors: missing tensors: bert.encoder.layer.1.attention.self.value.bias [20]");
  CHECK(error_after([](Folder& f) { f.remove("classifier"); }) ==
        "/model.safetensors: missing tensors: classifier.weight [3, 20], classifier.bias [3]");
  CHECK(error_after([](Folder& f) { f.remove("pooler.dense.bias"); }, {.head = HeadKind::classification}) ==
        "/model.safetensors: missing tensors: bert.pooler.dense.bias [20]");
  CHECK(error_after([](Folder& f) { f.config["id2label"] = {{"0", "a"}, {"1", "b"}}; }) ==
        "/model.safetensors: classifier.weight is [3, 20], it should be [2, 20] by config.json, "
        "classifier.bias is [3], it should be [2] by config.json");
  for (const auto& [key, value] : std::vector<std::pair<std::string, json>>{{"position_embedding_type", "relative_key"},
                                                                            {"is_decoder", true},
                                                                            {"hidden_dropout_prob", 1.0},
                                                                            {"classifier_dropout", -0.1},
                                                                            {"layer_norm_eps", 2},
                                                                            {"id2label", json::array()},
                                                                            {"type_vocab_size", 0},
                                                                            {"hidden_act", "silu"}}) {
    CAPTURE(key);
    const std::string text = error_after([&](Folder& f) { f.config[key] = value; });
    CHECK(text.starts_with("/config.json: "));
    CHECK(text.find(key == "hidden_act" ? "silu" : key) != std::string::npos);
  }
  CHECK(error_after([](Folder& f) { f.config["architectures"] = {"BertForTokenClassification"}; })
            .starts_with("/config.json: \"architectures\" is [\"BertForTokenClassification\"], it should be one of: "
                         "BertModel, BertForMaskedLM"));
  Folder folder("bert_masked");
  CHECK_THROWS_WITH_AS(load_model(folder.write(), host_memory(), false, {.kinds = generating_kinds}),
                       doctest::Contains("\"bert\" is not a decoder"), Error);
}

}  // namespace engine::test
