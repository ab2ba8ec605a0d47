// The losses of task squad: soft targets, the loss of which tokens an answer covers, parts of its head, a teacher.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "core/random.h"
#include "tasks/squad/squad.h"
#include "tasks/squad/targets.h"
#include "tests/letters.h"
#include "tests/task_settings.h"

namespace engine::test::test_squad_losses {

namespace {

using nlohmann::json;

// The answer is two letters of a context, behind the letter "x". The question has no meaning.
std::string file_of(uint64_t seed, int count) {
  Random random(seed, 1);
  json paragraphs = json::array();
  const auto letter = [&] { return std::string(1, static_cast<char>('b' + random.below(20))); };
  for (int i = 0; i < count; ++i) {
    std::string before, behind;
    for (uint32_t k = random.below(4); k-- > 0;) before += letter() + " ";
    for (uint32_t k = random.below(4); k-- > 0;) behind += " " + letter();
    before += "x ";
    const std::string answer = letter() + " " + letter();
    paragraphs.push_back(
        {{"context", before + answer + behind},
         {"qas",
          {{{"id", std::to_string(i)},
            {"question", "y"},
            {"answers", {{{"text", answer}, {"answer_start", before.size()}}}}}}}});
  }
  return json{{"data", {{{"paragraphs", paragraphs}}}}}.dump();
}

const std::string small_model =
    "model.architecture = \"bert\"\nmodel.hidden_size = 32\nmodel.num_layers = 2\nmodel.num_heads = 2\n"
    "model.max_positions = 32\nmodel.initializer_range = 0.2\n";
const std::string settings_text = "task = \"squad\"\n" + small_model +
    "squad.max_length = 32\nsquad.doc_stride = 4\ntraining.batch_size = 16\ntraining.max_steps = 200\n"
    "training.learning_rate = 4e-3\ntraining.eval_every = 0\ntraining.save_every = 0\ntraining.log_every = 20\n";

struct Questions : TaskSettings {
  explicit Questions(const std::string& more = "") : TaskSettings(settings_text + more) {
    config.data.tokenizer = file("tokenizer");
    write_letters(config.data.tokenizer);
    config.data.train = {write("train.json", file_of(1, 300))};
    config.data.eval = {write("dev.json", file_of(2, 60))};
  }
  // Returns a metric's values in the log of a run.
  std::vector<double> logged(const std::string& name) const {
    std::istringstream lines(read_text(folder.path() / config.name / "metrics.jsonl"));
    std::vector<double> values;
    for (std::string line; std::getline(lines, line);)
      if (const auto one = json::parse(line); one.contains(name)) values.push_back(one[name]);
    return values;
  }
  std::string refusal() {
    try {
      task();
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }
};

bool says(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("squad losses: soft targets follow the Jaccard of the spans, and mix with the token that is meant") {
  // Ten tokens, of which 3 to 8 are the context and 5 to 6 the answer.
  const WindowShape window{.tokens = 10, .context = {3, 9}, .answer = {5, 6}, .has_answer = true};
  const auto at = [](double j) { return j + j * j; };
  const std::vector<double> starts{0, 0, 0, at(0.5), at(2.0 / 3), 2, at(0.5), 0, 0, 0},
      ends{0, 0, 0, 0, 0, at(0.5), 2, at(2.0 / 3), at(0.5), 0};
  for (const double alpha : {0.0, 0.6, 0.8, 1.0})
    for (const double smoothing : {0.0, 0.1}) {
      CAPTURE(alpha); CAPTURE(smoothing);
      const SoftTargetShares shares{smoothing, alpha};
      const auto check = [&](const std::vector<double>& targets, const std::vector<double>& y, size_t meant) {
        double size = 0, sum = 0;
        for (const double value : y) size += value;
        REQUIRE(targets.size() == 10);
        for (size_t i = 0; i < 10; ++i) {
          CAPTURE(i);
          const double own = alpha * (i == meant) + (1 - alpha) * y[i] / size;
          CHECK(targets[i] == doctest::Approx((1 - smoothing) * own + smoothing / 10));
          sum += targets[i];
        }
        CHECK(sum == doctest::Approx(1));
      };
      check(first_token_targets(window, shares), starts, 5);
      check(last_token_targets(window, shares), ends, 6);
    }
  // A window without the answer means its first token, whatever the share is.
  const WindowShape none{.tokens = 4, .context = {2, 3}, .answer = {0, 0}, .has_answer = false};
  CHECK(first_token_targets(none, {0, 0.5}) == std::vector<double>{1, 0, 0, 0});
  CHECK(last_token_targets(none, {0.2, 0.5})[1] == doctest::Approx(0.05));
}

TEST_CASE("squad losses: a batch has soft targets and the answer's mask in training, and none in evaluations") {
  Questions run;
  run.config.data.train = {run.write("one.json", file_of(3, 1))};
  run.config.training.batch_size = 1;
  run.sections.squad.jaccard_alpha = 0.6;
  run.sections.squad.start_weight = 3;
  run.sections.squad.segmentation_weight = 0.5;
  const auto task = run.task();
  SequenceBatch batch;
  static_cast<SquadTask&>(*task).batch_of(0, batch);
  REQUIRE(batch.targets.covered.size() == batch.tokens.size());
  double starts = 0, ends = 0, covered = 0;
  size_t meant = 0, positive = 0;
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    starts += static_cast<double>(batch.targets.spans[2 * i]);
    ends += static_cast<double>(batch.targets.spans[2 * i + 1]);
    covered += static_cast<double>(batch.targets.covered[i]);
    positive += batch.targets.spans[2 * i] > 0;
    if (batch.targets.spans[2 * i] > batch.targets.spans[2 * meant]) meant = i;
  }
  CHECK(starts == doctest::Approx(0.75));
  CHECK(ends == doctest::Approx(0.25));
  CHECK(covered == 2);
  CHECK(positive > 1);
  CHECK(batch.targets.covered[meant] == 1);
  CHECK(batch.targets.covered[meant + 1] == 1);
  CHECK(batch.tokens[meant - 1] == 5 + 'x' - 'a');
  // The same model is worth the same with other losses.
  std::string samples;
  const Metrics metrics = task->evaluate(run.machine, samples);
  Questions plain;
  plain.config.data.train = run.config.data.train;
  plain.sections.squad.start_weight = 3;
  CHECK(metric(plain.task()->evaluate(plain.machine, samples), "loss") == metric(metrics, "loss"));
}

TEST_CASE("squad losses: with every option a small encoder learns to answer, and its run is evaluated as it was") {
  Questions run("squad.jaccard_alpha = 0.6\nsquad.segmentation_weight = 1\n");
  for (const auto& [dense, order] : {std::pair{true, "start_first"}, {false, "end_first"}}) {
    CAPTURE(order);
    run.config.name = order;
    run.config.model.span_dense = dense;
    run.config.model.span_order = order;
    const auto task = run.trained();
    std::string samples;
    const Metrics metrics = task->evaluate(run.machine, samples);
    CHECK(metric(metrics, "exact_match") >= 85);
    TaskSettings again("task = \"squad\"\n[squad]\nmax_length = 32\ndoc_stride = 4\n");
    again.config.init = run.file(order);
    again.config.data.eval = run.config.data.eval;
    const auto loaded = again.task(Use::evaluation);
    CHECK(again.config.model.span_order == order);
    for (const char* name : {"loss", "exact_match", "f1"})
      CHECK(metric(loaded->evaluate(again.machine, samples), name) == metric(metrics, name));
  }
}

TEST_CASE("squad losses: parts of the head may be added to a model from init, and are reported") {
  Questions first;
  first.config.training.max_steps = 1;
  first.trained();
  Questions more("model.span_dense = true\nmodel.span_order = \"end_first\"\n");
  more.config.init = first.file("run");
  more.config.data.tokenizer.clear();
  const auto task = more.task();
  CHECK(says(task->start_report(), "loaded qa_outputs, trunk; new span_dense, span_order"));
  CHECK(more.config.model.span_dense);
  // Without the options, a run keeps its parts.
  more.config.training.max_steps = 1;
  more.config.name = "with_parts";
  more.trained();
  Questions last;
  last.config.init = more.file("with_parts");
  last.config.data.tokenizer.clear();
  CHECK(says(last.task()->start_report(), "loaded qa_outputs, span_dense, span_order, trunk"));
  CHECK(last.config.model.span_order == "end_first");
  TaskSettings other("task = \"mlm\"\n" + small_model + "model.span_dense = true\n");
  other.config.data.tokenizer = first.config.data.tokenizer;
  other.config.data.train = {other.write("text.txt", "a b c d e f g h\n")};
  CHECK_THROWS_WITH_AS(other.task(), doctest::Contains("model.span_dense is true: it is for a model that answers"),
                       UsageError);
}

TEST_CASE("squad losses: a small encoder learns from a larger one, and what does not fit is refused by name") {
  Questions run;
  run.config.name = "teacher";
  run.config.model.span_dense = true;  // which the student has not
  const auto teacher = run.trained();
  std::string samples;
  REQUIRE(metric(teacher->evaluate(run.machine, samples), "exact_match") >= 85);
  Questions student;
  student.config.model.num_layers = 1;
  student.config.model.hidden_size = 24;
  student.config.name = "student";
  DistillationConfig& own = student.sections.distillation;
  own = {.teacher = run.file("teacher"), .hard_weight = 0, .soft_weight = 1, .cosine_weight = 0};
  const auto small = student.trained();
  const std::vector<double> losses = student.logged("soft_loss");
  REQUIRE(losses.size() == 10);
  CHECK(losses.back() < 0.3 * losses.front());
  // It has seen no label.
  CHECK(metric(small->evaluate(student.machine, samples), "exact_match") >= 70);

  student.sections.squad.jaccard_alpha = 0.5;
  CHECK(student.refusal() == "squad.jaccard_alpha is not read with distillation.hard_weight = 0");
  student.sections.squad.jaccard_alpha = 1;
  student.sections.squad.segmentation_weight = 1;
  CHECK(student.refusal() == "squad.segmentation_weight is not read with distillation.hard_weight = 0");
  own.hard_weight = 1;
  CHECK(student.refusal() == "");
  own.cosine_weight = 1;
  CHECK(says(student.refusal(), "hidden states 32 wide, the model 24 wide"));
  own.cosine_weight = 0;
  student.config.model.max_positions = student.sections.squad.max_length = 40;
  CHECK(says(student.refusal(), "has only 32 positions, a sequence up to 40 tokens: set squad.max_length to 32"));
  student.sections.squad.max_length = 32;
  student.config.data.tokenizer = student.file("other");
  write_letters(student.config.data.tokenizer);
  std::string vocabulary = read_text(student.folder.path() / "other" / "vocab.txt");
  std::swap(vocabulary[vocabulary.size() - 2], vocabulary[vocabulary.size() - 4]);
  student.write("other/vocab.txt", vocabulary);
  CHECK(says(student.refusal(), "distillation.teacher"));
  CHECK(says(student.refusal(), "has another vocabulary than the model"));
}

}  // namespace engine::test::test_squad_losses
