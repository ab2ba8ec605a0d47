// Folders of encoders: every form in which they come, and what becomes of their parts when the task changes.
#include <doctest/doctest.h>

#include <functional>

#include "models/huggingface.h"
#include "tests/changed_folder.h"

namespace engine::test::test_encoder_folders {

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

// Returns the prefix of a golden model's tensors.
std::string prefix_of(const std::string& name) {
  for (const std::string kind : {"distilbert", "rembert", "roberta", "bert"})
    if (name.find(kind) != std::string::npos) return kind + ".";
  return "";
}

std::string bytes_of(size_t floats) { return std::string(floats * sizeof(float), '\0'); }

}  // namespace

TEST_CASE("encoder folders: names without prefix, old names of gains, buffers, other heads, tied projections") {
  for (const std::string name : {"bert_masked", "bert_classes", "distilbert_masked", "distilbert_classes",
                                 "roberta_masked", "roberta_classes", "xlm_roberta_masked", "rembert_masked",
                                 "rembert_classes"}) {
    CAPTURE(name);
    const Folder as_it_is(name);
    const auto golden = as_it_is.load();
    const size_t all = golden->parameters().all().size();
    LoadReport report;
    const bool masked = name.find("masked") != std::string::npos;
    CHECK(equal_parameters(*as_it_is.load({.report = &report}), *golden) == all);
    const std::string pooler = name == "roberta_classes" ? "" : "pooler, ";
    CHECK(report.text() == (masked ? "loaded masked_head, trunk" : "loaded classifier, " + pooler + "trunk"));

    Folder other(name);
    other.rename(prefix_of(name), "");
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
    CHECK(folder.error() == "/model.safetensors: missing tensors: " + name.substr(0, name.find('_')) +
                                ".embeddings.word_embeddings.weight [53, 20]; tensors that this model does not have: "
                                "adapter.weight");
  }
  // Without logits over the vocabulary nothing is tied. A new head has a table as the config says.
  Folder classes("bert_classes");
  classes.config["tie_word_embeddings"] = false;
  CHECK(classes.error() == "");
  const auto masked = classes.load({.head = HeadKind::masked, .report = &report});
  CHECK(masked->parameters().find("masked_head.projection.weight"));
  CHECK(report.text() == "loaded trunk; new masked_head; left out bert.pooler.dense.bias, bert.pooler.dense.weight, "
                         "classifier.bias, classifier.weight");
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

TEST_CASE("encoder folders: RoBERTa's projection is tied, RemBERT's is a table of its own") {
  LoadReport report;
  const auto golden = Folder("xlm_roberta_masked").load();
  Folder folder("xlm_roberta_masked");
  folder.rename("roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight");
  folder.rename("lm_head.bias", "lm_head.decoder.bias");
  CHECK(equal_parameters(*folder.load({.report = &report}), *golden) == golden->parameters().all().size());
  CHECK(report.left_out.empty());
  folder.config["tie_word_embeddings"] = false;
  CHECK(folder.error() ==
        "/model.safetensors: missing tensors: roberta.embeddings.word_embeddings.weight [53, 20]");

  Folder untied("rembert_masked");
  const auto model = untied.load();
  CHECK(model->parameters().at("embedding.tokens").shape == Shape{53, 11});
  CHECK(model->parameters().at("masked_head.projection.weight").shape == Shape{53, 27});
  untied.config.erase("tie_word_embeddings");
  CHECK(untied.error() == "");
  untied.config["tie_word_embeddings"] = true;
  CHECK(equal_parameters(*untied.load(), *model) == model->parameters().all().size());  // transformers ties nothing
  // A model that scores no tokens has neither the table nor the head around it.
  const auto classes = untied.load({.head = HeadKind::classification, .labels = {"a", "b"}, .report = &report});
  CHECK_FALSE(classes->parameters().find("masked_head.projection.weight"));
  CHECK(report.text() == "loaded trunk; new classifier, pooler; left out cls.predictions.LayerNorm.bias, "
                         "cls.predictions.LayerNorm.weight, cls.predictions.decoder.bias, "
                         "cls.predictions.decoder.weight and 2 more");
  // Published RemBERT folders are trunks. Their head for masked tokens is new.
  Folder trunk("rembert_masked");
  trunk.config["architectures"] = {"RemBertModel"};
  trunk.remove("cls.");
  CHECK(trunk.load({.head = HeadKind::masked, .report = &report})->parameters().find("masked_head.projection.weight"));
  CHECK(report.text() == "loaded trunk; new masked_head");
  // The head's width is told by the config alone.
  untied.config["tie_word_embeddings"] = false;
  untied.config["output_embedding_size"] = 28;
  CHECK(untied.error().starts_with("/model.safetensors: cls.predictions.dense.weight is [27, 20], it should be "
                                   "[28, 20] by config.json"));
  untied.config["output_embedding_size"] = 0;
  CHECK(untied.error().starts_with("/config.json: "));
}

TEST_CASE("encoder folders: what counts of tied tensors that differ is what transformers reads") {
  struct Names {
    std::string model, table, projection, bias, projection_bias;
  };
  for (const Names& names :
       {Names{"bert", "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight",
              "cls.predictions.bias", "cls.predictions.decoder.bias"},
        Names{"roberta", "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight", "lm_head.bias",
              "lm_head.decoder.bias"},
        Names{"distilbert", "distilbert.embeddings.word_embeddings.weight", "vocab_projector.weight",
              "vocab_projector.bias", ""}}) {
    CAPTURE(names.model);
    LoadReport report;
    const auto values = [](Model& model, const char* name) {
      const Tensor& value = model.parameters().at(name).value;
      return std::vector<float>(value.as<float>(), value.as<float>() + value.count());
    };
    // The config ties. The file has a table that differs, and only the tied bias.
    Folder folder(names.model + "_masked");
    const auto golden = folder.load();
    folder.add(names.projection, {53, 20}, bytes_of(53 * 20));
    const auto untied = folder.load({.report = &report});
    CHECK(report.text() == "loaded masked_head, trunk; its tables of tokens differ, so none is tied");
    CHECK(values(*untied, "embedding.tokens") == values(*golden, "embedding.tokens"));
    CHECK(values(*untied, "masked_head.projection.weight") != values(*golden, "embedding.tokens"));
    CHECK(values(*untied, "masked_head.projection.bias") == values(*golden, "masked_head.bias"));
    const TemporaryFolder saved;
    save_model(saved.path(), *untied);
    CHECK(json::parse(read_text(saved.path() / "config.json")).at("tie_word_embeddings") == false);
    CHECK(equal_parameters(*load_model(saved.path(), host_memory(), false), *untied) ==
          untied->parameters().all().size());
    // Transformers looks for both biases.
    const Safetensors file = Safetensors::open(saved.path() / "model.safetensors");
    CHECK(file.floats(names.bias) == values(*untied, "masked_head.projection.bias"));
    folder.config["tie_word_embeddings"] = false;
    CHECK(equal_parameters(*folder.load(), *untied) == untied->parameters().all().size());
    if (names.projection_bias.empty()) continue;
    CHECK(file.floats(names.projection_bias) == file.floats(names.bias));
    // The projection's bias counts of two, tied or not.
    Folder other(names.model + "_masked");
    other.add(names.projection_bias, {53}, bytes_of(53));
    const auto tied = other.load({.report = &report});
    CHECK(report.left_out.empty());
    CHECK(equal_parameters(*tied, *golden) == tied->parameters().all().size() - 1);
    CHECK(values(*tied, "masked_head.bias") != values(*golden, "masked_head.bias"));
    folder.add(names.projection_bias, {53}, bytes_of(53));
    CHECK(values(*folder.load(), "masked_head.projection.bias") == values(*tied, "masked_head.bias"));
  }
}

TEST_CASE("encoder folders: a RoBERTa's positions begin behind the pad token's id") {
  for (const auto& [name, positions] : {std::pair{"roberta_masked", 23}, {"xlm_roberta_masked", 24}}) {
    const auto model = Folder(name).load();
    CHECK(model->config().max_positions == positions);
    CHECK(model->parameters().at("embedding.positions").shape == Shape{26, 20});
  }
  Folder folder("roberta_masked");
  folder.config["max_position_embeddings"] = 3;
  CHECK(folder.error() == "/config.json: \"max_position_embeddings\" is 3, it should be more than 3, because positions "
                          "begin behind \"pad_token_id\"");
  for (const json& pad : {json(nullptr), json(53), json(-1)}) {
    folder.config["pad_token_id"] = pad;
    CHECK(folder.error() == "/config.json: \"pad_token_id\" should be a token of the vocabulary, because positions "
                            "begin behind it");
  }
}

TEST_CASE("encoder folders: config.json of RoBERTa, XLM-R and RemBERT is saved as it was read") {
  for (const std::string name : {"roberta_masked", "roberta_classes", "xlm_roberta_masked", "xlm_roberta_classes",
                                 "rembert_masked", "rembert_classes"}) {
    CAPTURE(name);
    Folder folder(name);
    const bool is_rembert = name.starts_with("rembert");
    folder.config[is_rembert ? "classifier_dropout_prob" : "classifier_dropout"] = 0.25;
    folder.config["hidden_dropout_prob"] = 0.125;
    folder.config["attention_probs_dropout_prob"] = 0.375;
    folder.config["initializer_range"] = 0.5;
    const auto model = folder.load();
    CHECK(model->config().classifier_dropout == 0.25f);
    const TemporaryFolder saved;
    save_model(saved.path(), *model);
    const json config = json::parse(read_text(saved.path() / "config.json"));
    for (const auto& [key, value] : config.items()) {
      CAPTURE(key);
      REQUIRE(folder.config.contains(key));
      CHECK(value == folder.config[key]);
    }
    for (const auto& [key, value] : folder.config.items()) {
      CAPTURE(key);
      const bool is_fixed = key == "add_cross_attention" || key == "is_decoder" || key == "use_cache" ||
                            key == "transformers_version" || (name.ends_with("masked") && key.ends_with("label")) ||
                            key == "label2id" || key == "id2label";
      CHECK((config.contains(key) || is_fixed));
    }
  }
  Folder refused("rembert_classes");
  refused.config["classifier_dropout_prob"] = 1.5;
  CHECK(refused.error().find("classifier_dropout_prob") != std::string::npos);
}

TEST_CASE("encoder folders: a trunk of RoBERTa or RemBERT alone, with a pooler or without") {
  for (const std::string name : {"roberta_masked", "xlm_roberta_masked", "rembert_masked"}) {
    CAPTURE(name);
    Folder folder(name);
    const auto golden = folder.load();
    const std::string model_class = name.starts_with("roberta") ? "RobertaModel"
                                    : name.starts_with("xlm")   ? "XLMRobertaModel"
                                                                : "RemBertModel";
    folder.config["architectures"] = {model_class};
    folder.remove(name.starts_with("rembert") ? "cls." : "lm_head.");
    const auto trunk = folder.load();
    CHECK(equal_parameters(*trunk, *golden) == trunk->parameters().all().size());
    folder.rename(prefix_of(name), "");
    folder.add("pooler.dense.weight", {20, 20}, bytes_of(400));
    folder.add("pooler.dense.bias", {20}, bytes_of(20));
    const auto with_pooler = folder.load();
    CHECK(with_pooler->parameters().all().size() == trunk->parameters().all().size() + 2);
    const TemporaryFolder saved;
    save_model(saved.path(), *with_pooler);
    const Safetensors file = Safetensors::open(saved.path() / "model.safetensors");
    CHECK(file.entries().size() == folder.tensors.size());
    for (const SafetensorsItem& tensor : folder.tensors) CHECK(file.entries().contains(tensor.name));
    CHECK(json::parse(read_text(saved.path() / "config.json")).at("architectures").at(0) == model_class);
  }
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

TEST_CASE("encoder folders: numbers and truth values are names of classes, too") {
  Folder folder("bert_classes");
  folder.config["id2label"] = {{"0", 0}, {"1", 1.5}, {"2", true}};
  CHECK(read_model_config(folder.write()).labels == std::vector<std::string>{"0", "1.5", "true"});
  folder.config["id2label"]["1"] = nullptr;
  CHECK_THROWS_WITH_AS(read_model_config(folder.write()), doctest::Contains("id2label: \"1\" is missing"), Error);
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
                                                                            {"hidden_dropout_prob", 1.5},
                                                                            {"classifier_dropout", -0.1},
                                                                            {"layer_norm_eps", 2},
                                                                            {"id2label", json::array()},
                                                                            {"type_vocab_size", 0},
                                                                            {"hidden_act", "gelu_10"}}) {
    CAPTURE(key);
    const std::string text = error_after([&](Folder& f) { f.config[key] = value; });
    CHECK(text.starts_with("/config.json: "));
    CHECK(text.find(key == "hidden_act" ? "gelu_10" : key) != std::string::npos);
  }
  CHECK(error_after([](Folder& f) { f.config["architectures"] = {"BertForTokenClassification"}; })
            .starts_with("/config.json: \"architectures\" is [\"BertForTokenClassification\"], it should be one of: "
                         "BertModel, BertForMaskedLM"));
  Folder folder("bert_masked");
  CHECK_THROWS_WITH_AS(load_model(folder.write(), host_memory(), false, {.kinds = generating_kinds}),
                       doctest::Contains("\"bert\" is not a decoder"), Error);
}

}  // namespace engine::test::test_encoder_folders
