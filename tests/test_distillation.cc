#include "training/distillation.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/cosine_loss_ref.h"
#include "kernels/soft_cross_entropy_ref.h"
#include "models/huggingface.h"
#include "tests/invariance.h"
#include "tests/task_settings.h"
#include "text/vocabulary_training.h"

namespace engine::test {

namespace {

ModelConfig config_of(Head head, int64_t layers = 2) {
  ModelConfig config;
  config.architecture = "bert";
  config.hidden_size = 16;
  config.num_layers = layers;
  config.num_heads = 2;
  config.ffn_size = 24;
  config.vocab_size = 37;
  config.max_positions = 16;
  config.initializer_range = 0.3f;  // logits that are not all alike
  config.head = head;
  if (head == Head::classification) config.labels = {"no", "maybe", "yes"};
  return config;
}

std::unique_ptr<EncoderModel> model_of(Ops& ops, const ModelConfig& config, uint64_t seed) {
  auto model = make_encoder_model(config);
  model->parameters().allocate(ops.memory(), true);
  model->parameters().initialise(seed);
  return model;
}

// Ragged sequences; a third of the tokens is scored, or the first of each sequence with a class.
SequenceBatch batch_of(Head head) {
  SequenceBatch batch;
  Random random(3, 3);
  for (const int length : {7, 1, 12, 5}) {
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<int32_t>(random.below(37)));
      const auto label = static_cast<int32_t>(random.below(head == Head::masked ? 37 : 3));
      batch.labels.push_back((head == Head::masked ? i % 3 == 0 : i == 0) ? label : -100);
    }
    batch.end_sequence();
  }
  return batch;
}

// A student, its teacher and what they run on.
struct Pupil {
  Bench& bench;
  Head head;
  std::unique_ptr<EncoderModel> student, teacher_copy;
  Distillation distillation;
  LossStep step;
  SequenceBatch batch = batch_of(head);

  Pupil(Bench& on, Head of, const DistillationConfig& config, uint64_t student_seed = 1, uint64_t teacher_seed = 2)
      : bench(on), head(of), student(model_of(on.ops, config_of(of), student_seed)),
        teacher_copy(model_of(on.ops, config_of(of), teacher_seed)),
        distillation(config, *student, model_of(on.ops, config_of(of), teacher_seed), 16), step(*student) {}

  // The totals; gradients are added to.
  std::vector<double> run(int64_t first, int64_t last) {
    const ArenaScope scope(bench.arena);
    const Tensor totals = bench.zeros({3});
    Pass pass{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute};
    distillation.run(step, pass, batch, first, last, 1.0f / static_cast<float>(batch.scored()), totals);
    return bench.values(totals);
  }
  std::vector<double> gradients() {
    std::vector<double> all;
    for (const Parameter& p : student->parameters().all()) {
      append(all, bench.values(p.gradient));
      bench.arena.memory().zero(p.gradient.data, p.gradient.bytes());
    }
    return all;
  }
  struct Seen {
    std::vector<double> logits, hidden;  // of the scored rows; of all tokens
  };
  Seen see(EncoderModel& model) {
    const ArenaScope scope(bench.arena);
    LossStep own(model);
    Pass pass{.ops = bench.ops, .arena = bench.arena, .compute = bench.compute, .keep = false};
    const LossArgs args = own.upload(pass, batch, 0, batch.sequences());
    const auto saved = model.make_saved();
    const Tensor logits = model_logits(pass, model, args.tokens, args.scored_rows, *saved);
    return {bench.values(logits), bench.values(model.forward(pass, args.tokens, *saved))};
  }
  // Soft and cosine loss, in double, of what both models say.
  std::pair<double, double> expected(double temperature) {
    const Seen mine = see(*student), theirs = see(*teacher_copy);
    const auto rows = static_cast<size_t>(batch.scored());
    reference::SoftCrossEntropy<double> soft;
    soft.rows = rows;
    soft.vocabulary = mine.logits.size() / rows;
    soft.logits = mine.logits;
    soft.targets = theirs.logits;
    soft.temperature = temperature;
    soft.run();
    reference::CosineLoss<double> cosine;
    cosine.rows = batch.tokens.size();
    cosine.cols = 16;
    cosine.x = mine.hidden;
    cosine.y = theirs.hidden;
    cosine.run();
    return {soft.loss / static_cast<double>(rows), cosine.loss / static_cast<double>(cosine.rows)};
  }
};

}  // namespace

TEST_CASE("distillation: the losses are those of the two models' logits and hidden states") {
  on_every_backend([](Bench& bench) {
    for (const Head head : {Head::masked, Head::classification}) {
      Pupil pupil(bench, head, {.temperature = 3});
      pupil.run(0, 4);
      const Metrics metrics = pupil.distillation.log();
      const auto [soft, cosine] = pupil.expected(3);
      // Under bf16 the models' own numbers are rounded in other places where backward follows.
      const double allowed = bench.compute == DType::bf16 ? 8 * epsilon_of(DType::bf16) : 64 * epsilon_of(DType::f32);
      CHECK(soft > 0.1);
      CHECK(cosine > 0.1);
      CHECK(std::abs(metric(metrics, "soft_loss") - soft) <= allowed * soft);
      CHECK(std::abs(metric(metrics, "cosine_loss") - cosine) <= allowed * cosine);
      CHECK(pupil.distillation.log().empty());
    }
  });
}

TEST_CASE("distillation: gradients are the derivatives of the weighted sum of the three losses") {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Arena arena(ops->memory(), size_t{1} << 30);
  Bench bench{*ops, arena, DType::f32};
  for (const Head head : {Head::masked, Head::classification}) {
    Pupil pupil(bench, head, {.temperature = 2, .hard_weight = 0.5f, .soft_weight = 2, .cosine_weight = 3});
    const auto objective = [&] {
      const double hard = pupil.run(0, 4)[0] / static_cast<double>(pupil.batch.scored());
      const Metrics metrics = pupil.distillation.log();
      return 0.5 * hard + 2 * metric(metrics, "soft_loss") + 3 * metric(metrics, "cosine_loss");
    };
    const double size = objective();
    const std::vector<double> gradient = pupil.gradients();
    size_t first = 0;
    for (const Parameter& p : pupil.student->parameters().all()) {
      CAPTURE(p.name);
      const std::vector<double> values = bench.values(p.value);
      std::vector<double> direction;
      double slope = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        direction.push_back(static_cast<double>(bench.random.normal()) / std::sqrt(static_cast<double>(values.size())));
        slope += direction[i] * gradient[first + i];
      }
      first += values.size();
      const auto difference = [&](double by) {
        double ends[2], signs[2] = {1, -1};
        for (int end = 0; end < 2; ++end) {
          std::vector<double> moved = values;
          for (size_t i = 0; i < moved.size(); ++i) moved[i] += signs[end] * by * direction[i];
          bench.fill(p.value, moved);
          ends[end] = objective();
        }
        return (ends[0] - ends[1]) / (2 * by);
      };
      const double fine = difference(0.02), coarse = difference(0.04);
      bench.fill(p.value, values);
      pupil.gradients();
      // As in check_derivatives: the error of order by^2 cancels, and rounding moves a loss by some units.
      const double allowed = 0.5 * std::abs(fine - coarse) + 16 * epsilon_of(DType::f32) * size / 0.02;
      INFO("slope ", slope, ", by differences ", (4 * fine - coarse) / 3, ", allowed ", allowed);
      CHECK(std::abs((4 * fine - coarse) / 3 - slope) <= allowed);
    }
  }
}

TEST_CASE("distillation: a student that is its teacher has soft and cosine loss 0, and the gradient of its labels") {
  on_every_backend([](Bench& bench) {
    for (const Head head : {Head::masked, Head::classification}) {
      Pupil same(bench, head, {.hard_weight = 1, .soft_weight = 1}, 7, 7);
      const std::vector<double> totals = same.run(0, 4), gradients = same.gradients();
      const Metrics metrics = same.distillation.log();
      CHECK(std::abs(metric(metrics, "soft_loss")) <= 16 * epsilon_of(bench.compute));
      CHECK(std::abs(metric(metrics, "cosine_loss")) <= 16 * epsilon_of(bench.compute) * epsilon_of(bench.compute) +
                                                           16 * epsilon_of(DType::f32));
      Pupil alone(bench, head, {.hard_weight = 1, .soft_weight = 0, .cosine_weight = 0}, 7, 8);
      CHECK(alone.run(0, 4) == totals);
      CHECK(alone.distillation.log().empty());
      CHECK_CLOSE(gradients, alone.gradients(), 16 * epsilon_of(bench.compute));
    }
  });
}

TEST_CASE("distillation: micro-batches add up, and the sums go through text") {
  on_every_backend([](Bench& bench) {
    const DistillationConfig config{.temperature = 2};
    Pupil whole(bench, Head::masked, config), parts(bench, Head::masked, config), resumed(bench, Head::masked, config);
    const std::vector<double> totals = whole.run(0, 4), gradients = whole.gradients();
    std::vector<double> sums = parts.run(0, 1);
    resumed.distillation.set_state(parts.distillation.state());
    const std::vector<double> rest = parts.run(1, 4), of_parts = parts.gradients();
    resumed.run(1, 4);
    for (size_t i = 0; i < 3; ++i) sums[i] += rest[i];
    const double allowed = 16 * epsilon_of(bench.compute);
    CHECK_CLOSE(sums, totals, allowed);
    CHECK_CLOSE(of_parts, gradients, allowed);
    const Metrics all = whole.distillation.log(), added = parts.distillation.log();
    for (const char* name : {"soft_loss", "cosine_loss"})
      CHECK(std::abs(metric(added, name) - metric(all, name)) <= allowed * metric(all, name));
    CHECK(resumed.distillation.log() == added);
  });
}

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

// A teacher's run folder: it has learned a little.
struct Taught : TaskSettings {
  explicit Taught(const std::string& text = settings_text) : TaskSettings(text) {
    const std::string walk = read_text("tests/data/walk.txt");
    config.data.tokenizer = vocabulary(*this, walk);
    config.data.train = {write("train.txt", walk)};
  }
  std::unique_ptr<Task> trained() {
    auto result = task();
    std::FILE* const nowhere = std::fopen("/dev/null", "w");
    const int code = train_task(config, options, *result, machine, nowhere);
    std::fclose(nowhere);
    REQUIRE(code == 0);
    return result;
  }
  // The values that the log of a run gives of a metric.
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
  // The values themselves: a layer of the student is one of the teacher.
  run.config.model = small;
  run.config.model.num_layers = 2;
  run.sections.distillation.layers = {"3", "1"};
  const auto teacher = load_encoder_model(open_run(run.file("teacher")).model, run.ops->memory(), false);
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
  // Options of [distillation] are for these tasks, and for those who name a teacher.
  TaskSettings none("task = \"mlm\"\n[distillation]\ntemperature = 4\n");
  CHECK_THROWS_WITH_AS(none.task(), doctest::Contains("distillation.teacher names no model"), UsageError);
  TaskSettings decoder("task = \"gpt\"\n[distillation]\nteacher = \"x\"\n");
  CHECK_THROWS_WITH_AS(decoder.task(), doctest::Contains("is for tasks mlm, cola and sst2"), UsageError);
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
  // A teacher with other classes, as one of another task.
  auto other = make_encoder_model([&] {
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

}  // namespace engine::test
