// The tasks mlm and sst2 (cola is the same code) with RoBERTa, XLM-R and RemBERT, as new models and from those of other
// tasks.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "core/safetensors.h"
#include "models/bert.h"
#include "models/huggingface.h"
#include "tasks/language_model.h"
#include "tests/letters.h"
#include "tests/task_settings.h"

namespace engine::test::test_encoder_tasks {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

const std::string training = "[training]\nbatch_size = 16\nlearning_rate = 1e-2\neval_every = 0\nsave_every = 0\n";

// A model that is wide enough for a tiny task. `lines` are further options of [model].
std::string model_section(const std::string& architecture, const std::string& lines = "") {
  return "[model]\narchitecture = \"" + architecture +
         "\"\nhidden_size = 32\nnum_layers = 1\nnum_heads = 2\nmax_positions = 12\ninitializer_range = 0.2\n" + lines;
}
const std::string narrow = "input_embedding_size = 20\noutput_embedding_size = 40\n";

// Sentences of letters. One with an x is of class 1. A letter is followed by the next one, so that a masked one can be
// told from its neighbours.
struct Sentences : TaskSettings {
  Sentences(const std::string& task, const std::string& model, int64_t steps)
      : TaskSettings("task = \"" + task + "\"\n" + model + training + "max_steps = " + std::to_string(steps) + "\n") {
    config.data.tokenizer = file("tokenizer");
    write_letters(config.data.tokenizer);
    if (task == "mlm") {
      std::string text;
      for (int line = 0; line < 300; ++line) {
        for (int i = 0; i < 8; ++i) text += std::string(i ? " " : "") + static_cast<char>('a' + (line + i) % 26);
        text += '\n';
      }
      config.data.train = {write("train.txt", text)};
      config.data.eval = {write("dev.txt", text)};
      return;
    }
    const auto sentences = [&](const std::string& name, uint64_t seed) {
      Random random(seed, 1);
      std::string rows = "sentence\tlabel\n";
      for (int row = 0; row < 160; ++row) {
        const uint32_t words = 2 + random.below(6), at = random.below(words);
        for (uint32_t i = 0; i < words; ++i)
          rows += std::string(i ? " " : "") +
                  (row % 2 && i == at ? 'x' : static_cast<char>('a' + random.below(20)));
        rows += row % 2 ? "\t1\n" : "\t0\n";
      }
      return write(name, rows);
    };
    config.data.train = {sentences("train.tsv", 1)};
    config.data.eval = {sentences("dev.tsv", 2)};
  }
  double evaluated(Task& of, const std::string& name) {
    std::string samples;
    return metric(of.evaluate(machine, samples), name);
  }
  fs::path model_folder() const { return open_run(file(config.name)).model; }
  json saved_config() const { return json::parse(read_text(model_folder() / "config.json")); }
};

const std::vector<std::pair<std::string, std::string>> new_models{
    {"roberta", ""}, {"roberta", "model_type = \"xlm-roberta\"\n"}, {"rembert", narrow}};

}  // namespace

TEST_CASE("encoder tasks: RoBERTa, XLM-R and RemBERT learn masked tokens, and are evaluated again as they were") {
  for (const auto& [architecture, lines] : new_models) {
    CAPTURE(architecture + lines);
    Sentences run("mlm", model_section(architecture, lines), 400);
    run.sections.mlm.mask_share = 0.3;
    const double before = run.evaluated(*run.task(), "loss");
    const auto task = run.trained();
    const double after = run.evaluated(*task, "loss");
    INFO("loss ", before, " before, ", after, " after");
    CHECK(after < 0.5 * before);
    Sentences again("mlm", "", 1);
    again.sections.mlm.mask_share = 0.3;
    again.config.init = run.model_folder().string();
    again.config.data.tokenizer.clear();
    again.config.data.eval = run.config.data.eval;
    CHECK(again.evaluated(*again.task(Use::evaluation), "loss") == after);
  }
}

TEST_CASE("encoder tasks: RoBERTa, XLM-R and RemBERT learn classes") {
  for (const auto& [architecture, lines] : new_models) {
    CAPTURE(architecture + lines);
    Sentences run("sst2", model_section(architecture, lines + "dropout = 0.05\n"), 150);
    const auto task = run.trained();
    CHECK(run.evaluated(*task, "accuracy") >= 0.9);
  }
}

TEST_CASE("encoder tasks: a new model's folder has its own format, its sizes and its positions") {
  const auto saved = [](const std::string& architecture, const std::string& lines) {
    Sentences run("mlm", model_section(architecture, lines), 1);
    run.trained();
    return run.saved_config();
  };
  const json roberta = saved("roberta", "");
  CHECK(roberta.at("model_type") == "roberta");
  CHECK(roberta.at("architectures").at(0) == "RobertaForMaskedLM");
  CHECK(roberta.at("pad_token_id") == 0);
  CHECK(roberta.at("max_position_embeddings") == 13);
  CHECK(roberta.at("type_vocab_size") == 1);
  CHECK(roberta.at("layer_norm_eps") == 1e-5);
  const json multilingual = saved("roberta", "model_type = \"xlm-roberta\"\n");
  CHECK(multilingual.at("model_type") == "xlm-roberta");
  CHECK(multilingual.at("architectures").at(0) == "XLMRobertaForMaskedLM");
  const json rembert = saved("rembert", narrow);
  CHECK(rembert.at("model_type") == "rembert");
  CHECK(rembert.at("input_embedding_size") == 20);
  CHECK(rembert.at("output_embedding_size") == 40);
  CHECK(rembert.at("max_position_embeddings") == 12);
  CHECK(saved("rembert", "").at("output_embedding_size") == 32);
}

TEST_CASE("encoder tasks: a RoBERTa's longest sequence is that of its usable positions") {
  Sentences run("mlm", model_section("roberta"), 2);
  run.config.data.block_size = 12;
  run.trained();
  run.config.data.block_size = 13;
  run.config.name = "longer";
  CHECK_THROWS_WITH_AS(run.task(), "data.block_size is 13, but the model has only 12 positions", UsageError);
}

TEST_CASE("encoder tasks: a class is learned from a model of masked tokens, whose own parts are left out") {
  for (const auto& [architecture, lines] : new_models) {
    CAPTURE(architecture + lines);
    Sentences masked("mlm", model_section(architecture, lines), 2);
    masked.trained();
    Sentences classes("sst2", "", 2);
    classes.config.init = masked.model_folder().string();
    classes.config.data.tokenizer.clear();
    const auto task = classes.trained();
    const bool is_rembert = architecture == "rembert";
    const std::string fresh = is_rembert ? "loaded trunk; new classifier, pooler; left out cls.predictions"
                                         : "loaded trunk; new classifier; left out lm_head.";
    CHECK(task->start_report().find(fresh) != std::string::npos);
    const Safetensors file = Safetensors::open(classes.model_folder() / "model.safetensors");
    for (const auto& [name, entry] : file.entries()) {
      CHECK(name.find("lm_head") == std::string::npos);
      CHECK(name.find("cls.") == std::string::npos);
    }
    const std::string family = is_rembert ? "RemBert" : lines.empty() ? "Roberta" : "XLMRoberta";
    CHECK(classes.saved_config().at("architectures").at(0) == family + "ForSequenceClassification");
  }
}

TEST_CASE("encoder tasks: options of a RoBERTa's and a RemBERT's own are told from those of others") {
  const auto refusal = [](const std::string& model) -> std::string {
    Sentences run("mlm", model, 1);
    try {
      run.task();
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal(model_section("bert", narrow)) ==
        "task.cfg:9: model.input_embedding_size is 20: nothing reads it here, it needs model.architecture = "
        "\"rembert\"");
  CHECK(refusal(model_section("rembert", "model_type = \"xlm-roberta\"\n")) ==
        "task.cfg:9: model.model_type is 'xlm-roberta': nothing reads it here, it needs model.architecture = "
        "\"roberta\"");
  CHECK_THROWS_AS(Sentences("mlm", model_section("roberta", "model_type = \"camembert\"\n"), 1), UsageError);

  // The model in init decides, and a set option that says something else is told.
  Sentences run("mlm", model_section("rembert", narrow), 1);
  run.trained();
  const auto from_init = [&](const std::string& lines) -> std::string {
    Sentences next("mlm", "[model]\n" + lines, 1);
    next.config.init = run.model_folder().string();
    next.config.data.tokenizer.clear();
    try {
      next.task();
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(from_init(narrow) == "");
  const std::string told = from_init("input_embedding_size = 12\n");
  CHECK(told.starts_with("model.input_embedding_size is 12, but the model in init"));
}

TEST_CASE("encoder tasks: models of different architectures learn from each other, layers where they are alike") {
  const auto teacher = [](const std::string& architecture) {
    auto run = std::make_unique<Sentences>("mlm", model_section(architecture), 5);
    run->trained();
    return run;
  };
  const auto student = [](const Sentences& of, const std::string& model, std::vector<std::string> layers) {
    auto run = std::make_unique<Sentences>("mlm", model, 3);
    run->sections.distillation = {.teacher = of.file("run"), .layers = std::move(layers)};
    return run;
  };
  // The teacher's table has a row before its positions, because its pad token's id is 0.
  const auto roberta = teacher("roberta");
  const auto theirs = load_model(roberta->model_folder(), host_memory(), false);
  const auto begun = student(*roberta, model_section("distilbert"), {"0"});
  const auto task = begun->task();
  const Tensor &ours = task->parameters().at("embedding.positions").value,
               &of_teacher = theirs->parameters().at("embedding.positions").value;
  REQUIRE(ours.shape == Shape{12, 32});
  REQUIRE(of_teacher.shape == Shape{13, 32});
  CHECK(std::equal(ours.as<float>(), ours.as<float>() + ours.count(), of_teacher.as<float>() + 32));
  begun->trained();

  const auto bert = teacher("bert");
  student(*bert, model_section("roberta"), {})->trained();
  student(*bert, model_section("rembert", narrow), {})->trained();
  CHECK_THROWS_WITH_AS(student(*bert, model_section("roberta"), {"0"})->task(),
                       "distillation.layers: the teacher's embedding.types is [2, 32], the model's embedding.types is "
                       "[1, 32]", UsageError);
  CHECK_THROWS_WITH_AS(student(*bert, model_section("rembert", narrow), {"0"})->task(),
                       doctest::Contains("distillation.layers: the teacher's embedding.tokens is"), UsageError);
}

}  // namespace engine::test::test_encoder_tasks
