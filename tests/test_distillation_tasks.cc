// Distillation is an option of the tasks. These tests cover how a student begins, what it learns, logs and refuses.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "models/huggingface.h"
#include "tasks/language_model.h"
#include "tests/task_settings.h"
#include "text/vocabulary_training.h"

namespace engine::test::test_distillation_tasks {

namespace {

const std::string settings_text = R"(
task = "mlm"
[data]
block_size = 16
[model]
architecture = "bert"
hidden_size = 32
num_layers = 4
num_heads = 4
max_positions = 32
[training]
batch_size = 16
max_steps = 60
learning_rate = 3e-3
eval_every = 0
save_every = 0
log_every = 10
[mlm]
eval_share = 0.1
)";

std::string vocabulary(const TaskSettings& settings, const std::string& text) {
  VocabularyTrainer trainer(VocabularyTrainer::Kind::wordpiece, {.vocab_size = 200, .min_frequency = 1});
  trainer.add(text);
  std::filesystem::create_directories(settings.file("vocabulary"));
  trainer.train()->save(settings.file("vocabulary"));
  return settings.file("vocabulary");
}

// This is a teacher's run folder, which has learned a little.
struct Taught : TaskSettings {
  explicit Taught(const std::string& text = settings_text) : TaskSettings(text) {
    const std::string walk = read_text("tests/data/walk.txt");
    config.data.tokenizer = vocabulary(*this, walk);
    config.data.train = {write("train.txt", walk)};
  }
  // Returns a metric's values in the log of a run.
  std::vector<double> logged(const std::string& name) const {
    std::istringstream lines(read_text(folder.path() / config.name / "metrics.jsonl"));
    std::vector<double> values;
    for (std::string line; std::getline(lines, line);)
      if (const auto json = nlohmann::json::parse(line); json.contains(name)) values.push_back(json[name]);
    return values;
  }
};

}  // namespace

TEST_CASE("distillation: a student of half the layers begins with its teacher's, and comes nearer to it") {
  Taught run;
  run.config.name = "teacher";
  run.trained();
  const ModelConfig small = TaskSettings(settings_text).config.model;
  const auto distil = [&](const char* name, std::vector<std::string> layers) {
    run.config.model = small;
    run.config.model.architecture = "distilbert";
    run.config.model.num_layers = 2;
    run.config.name = name;
    run.sections.distillation = {.teacher = run.file("teacher"), .layers = std::move(layers)};
    run.trained();
    return run.logged("soft_loss");
  };
  const std::vector<double> begun = distil("student", {"0", "2"}), fresh = distil("stranger", {});
  REQUIRE(begun.size() == 6);
  CHECK(begun.back() < 0.8 * begun.front());
  CHECK(begun.front() < 0.8 * fresh.front());
  CHECK(run.logged("cosine_loss").size() == 6);
  // The values are equal, since a layer of the student is one of the teacher.
  run.config.model = small;
  run.config.model.num_layers = 2;
  run.sections.distillation.layers = {"3", "1"};
  const auto teacher = load_model(open_run(run.file("teacher")).model, run.ops->memory(), false);
  const auto task = run.task();
  Parameters& student = task->parameters();
  const auto first = [](Parameters& of, const char* name) { return of.at(name).value.as<float>()[5]; };
  CHECK(first(student, "layers.0.attention.qkv.weight") ==
        first(teacher->parameters(), "layers.3.attention.qkv.weight"));
  CHECK(first(student, "layers.1.attention.qkv.weight") ==
        first(teacher->parameters(), "layers.1.attention.qkv.weight"));
  CHECK(first(student, "embedding.tokens") == first(teacher->parameters(), "embedding.tokens"));
  CHECK(first(student, "masked_head.dense.weight") == first(teacher->parameters(), "masked_head.dense.weight"));
}

TEST_CASE("distillation: a student may have fewer positions than its teacher, or more, where sequences fit both") {
  Taught run;
  run.config.name = "teacher";
  run.config.training.max_steps = 1;
  run.trained();
  const ModelConfig small = TaskSettings(settings_text).config.model;
  const auto teacher = load_model(open_run(run.file("teacher")).model, run.ops->memory(), false);
  const float* const theirs = teacher->parameters().at("embedding.positions").value.as<float>();
  run.sections.distillation = {.teacher = run.file("teacher"), .layers = {"0", "1", "2", "3"}};
  for (const int64_t positions : {20, 32, 40}) {
    CAPTURE(positions);
    run.config.model = small;
    run.config.model.max_positions = positions;
    run.config.name = "student" + std::to_string(positions);
    const auto task = run.task();
    const Tensor& ours = task->parameters().at("embedding.positions").value;
    CHECK(ours.shape[0] == positions);
    CHECK(std::equal(theirs, theirs + std::min<int64_t>(positions, 32) * 32, ours.as<float>()));
    CHECK(train_task(run.config, run.options, *task, run.machine).exit_code() == 0);
  }
  run.config.model = small;
  run.config.model.max_positions = 40;
  run.config.data.block_size = 0;
  CHECK_THROWS_WITH_AS(run.task(), doctest::Contains("has only 32 positions, a sequence up to 40 tokens: set "
                                                     "data.block_size to 32 or less"), UsageError);
}

TEST_CASE("distillation: a teacher that does not fit is told") {
  Taught run;
  run.config.name = "teacher";
  run.config.training.max_steps = 1;
  run.trained();
  const ModelConfig small = TaskSettings(settings_text).config.model;
  const auto refusal = [&](const std::function<void()>& change) -> std::string {
    const Config before = run.config;
    run.config.model = small;
    run.config.name = "student";
    run.sections.distillation = {.teacher = run.file("teacher")};
    change();
    std::string said;
    try {
      run.task();
    } catch (const UsageError& error) {
      said = error.what();
    }
    run.config = before;
    return said;
  };
  CHECK(refusal([] {}) == "");
  const auto says = [&](const char* what, const std::function<void()>& change) {
    const std::string said = refusal(change);
    INFO(said);
    CHECK(said.find(what) != std::string::npos);
  };
  DistillationConfig& own = run.sections.distillation;
  says("hidden states 32 wide, the model 64 wide", [&] { run.config.model.hidden_size = 64; });
  CHECK(refusal([&] { run.config.model.hidden_size = 64, own.cosine_weight = 0; }) == "");
  says("has another vocabulary than the model", [&] {
    std::filesystem::create_directories(run.file("other"));
    VocabularyTrainer trainer(VocabularyTrainer::Kind::wordpiece, {.vocab_size = 100});
    trainer.add("other words");
    trainer.train()->save(run.file("other"));
    run.config.data.tokenizer = run.file("other");
  });
  says("positions, a sequence up to", [&] { run.config.model.max_positions = run.config.data.block_size = 48; });
  says("all weights of [distillation] are 0", [&] { own.hard_weight = own.soft_weight = own.cosine_weight = 0; });
  says("names 2 layers of the teacher, the model has 4", [&] { own.layers = {"0", "1"}; });
  says("names \"4\": the teacher has the layers 0 to 3", [&] { own.layers = {"0", "1", "2", "4"}; });
  says("names \"x\"", [&] { own.layers = {"0", "1", "2", "x"}; });
  says("init is there already", [&] {
    own.layers = {"0", "1", "2", "3"};
    run.config.init = run.file("teacher");
  });
  says("is a model for another task than sst2", [&] {
    run.config.task = "sst2";
    run.config.data.train = run.config.data.eval = {run.write("t.tsv", "sentence\tlabel\nthe mill\t1\nthe gate\t0\n")};
    run.sections.mlm = {};
  });
  // Options of [distillation] need one of these tasks and a teacher.
  TaskSettings none("task = \"mlm\"\n[distillation]\ntemperature = 4\n");
  CHECK_THROWS_WITH_AS(none.task(), doctest::Contains("it needs a model in distillation.teacher"), UsageError);
  TaskSettings decoder("task = \"gpt\"\n[distillation]\nteacher = \"x\"\n");
  CHECK_THROWS_WITH_AS(decoder.task(), doctest::Contains("it needs one of the tasks mlm, cola, sst2 and squad"),
                       UsageError);
}

TEST_CASE("distillation: a classifier learns from one of as many classes") {
  const std::string rows =
      "sentence\tlabel\nthe mill is near\t1\nthe gate is shut\t0\nthe dog runs\t1\nno one comes\t0\n";
  Taught run("task = \"sst2\"\n" + settings_text.substr(settings_text.find("[data]"),
                                                      settings_text.find("[mlm]") - settings_text.find("[data]")));
  run.config.data.train = run.config.data.eval = {run.write("train.tsv", rows)};
  run.config.name = "teacher";
  run.config.training.batch_size = 4;
  run.trained();
  run.config.model = TaskSettings(settings_text).config.model;
  run.config.model.num_layers = 2;
  run.config.name = "student";
  run.sections.distillation = {.teacher = run.file("teacher"), .layers = {"0", "2"}};
  run.trained();
  const std::vector<double> losses = run.logged("soft_loss");
  REQUIRE(losses.size() == 6);
  CHECK(losses.back() < 0.5 * losses.front());
  CHECK(run.logged("cosine_loss").size() == 6);
  // This teacher has other classes, as one of another task has.
  auto other = make_model([&] {
    ModelConfig config = run.config.model;
    config.labels = {"a", "b", "c"};
    return config;
  }());
  other->parameters().allocate(host_memory(), false);
  other->parameters().initialise(1);
  std::filesystem::create_directories(run.file("three"));
  save_model(run.file("three"), *other);
  load_tokenizer(run.config.data.tokenizer)->save(run.file("three"));
  run.sections.distillation = {.teacher = run.file("three")};
  run.config.model = TaskSettings(settings_text).config.model;
  CHECK_THROWS_WITH_AS(run.task(), doctest::Contains("has 3 classes, other ones than task sst2"), UsageError);
}

}  // namespace engine::test::test_distillation_tasks
