// Files of multiple choice: reading, scoring, metrics and predictions.
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tasks/documents.h"
#include "tasks/thought/answering.h"
#include "tests/thought_settings.h"
#include "training/loss_step.h"

namespace engine::test::test_thought_questions {

namespace {

const std::string choices = "tests/data/choices/walk.jsonl";

ModelConfig small_model(int64_t vocab_size) {
  return {.hidden_size = 32, .num_layers = 2, .num_heads = 2, .vocab_size = vocab_size, .max_positions = 80,
          .initializer_range = 0.3f};
}

// The score of one completion by a pass of its own, without a cache.
double score_alone(Machine& machine, Model& model, const ChoiceQuestion& question, size_t i, int32_t thought) {
  SequenceBatch batch;
  std::vector<int32_t> all = question.context;
  all.insert(all.end(), question.completions[i].begin(), question.completions[i].end());
  batch.tokens.assign(all.begin(), all.end() - 1);
  batch.targets.labels.assign(all.begin() + 1, all.end());
  for (size_t t = 0; t < batch.tokens.size(); ++t)
    if (t + 1 < question.context.size() || all[t + 1] == thought) batch.targets.labels[t] = -100;
  batch.end_sequence();
  const LossTotals totals = LossStep(model).evaluate(machine, batch);
  return -totals.loss / totals.scored;
}

struct Scene : OwnMachine {
  std::unique_ptr<Tokenizer> tokenizer = make_tokenizer_of_characters({walk}, {"<t>"});
  int32_t thought = tokenizer->id_of("<t>").value();
  std::unique_ptr<Model> model = make_model(small_model(tokenizer->vocab_size()));

  Scene() {
    model->parameters().allocate(ops->memory(), false);
    model->parameters().initialise(3);
  }
  ChoiceFile read(const std::string& file, int64_t before = 0) const {
    return read_choices(file, *tokenizer, model->config(), {.thought = thought, .before_completion = before});
  }
  std::vector<std::vector<double>> scores(std::span<const ChoiceQuestion> questions, bool prefix_lm = false) {
    CachedScorer scorer(*ops, *model, DType::f32);
    return score_completions(scorer, model->config(), DType::f32, questions, {thought, prefix_lm});
  }
};

}  // namespace

TEST_CASE("thought questions: a file is read as it is, with thoughts before its completions") {
  Scene scene;
  const ChoiceFile file = scene.read(choices, 2);
  CHECK(file.name == "walk");
  CHECK(file.skipped == 0);
  REQUIRE(file.questions.size() == 4);
  const ChoiceQuestion& first = file.questions[0];
  CHECK(first.context == scene.tokenizer->encode("The old man took his coat and went"));
  REQUIRE(first.completions.size() == 3);
  std::vector<int32_t> expected{scene.thought, scene.thought};
  scene.tokenizer->encode(" out.", expected);
  CHECK(first.completions[0] == expected);
  CHECK(first.answer == 0);
  CHECK(file.questions[1].context == std::vector<int32_t>{scene.tokenizer->end_token()});
  CHECK(file.questions[2].line == 4);
  CHECK(file.questions[2].answer == 3);
}

TEST_CASE("thought questions: completions behind one run of their context score as each does alone") {
  Scene scene;
  const double tolerance = 1e-5;  // of losses of some units in f32
  for (const int64_t before : {0, 1, 3}) {
    const ChoiceFile file = scene.read(choices, before);
    const auto scores = scene.scores(file.questions);
    REQUIRE(scores.size() == 4);
    for (size_t q = 0; q < 4; ++q)
      for (size_t i = 0; i < scores[q].size(); ++i)
        CHECK(std::abs(scores[q][i] - score_alone(scene.machine, *scene.model, file.questions[q], i, scene.thought)) <
              tolerance);
  }
  // Thoughts inside a completion are not scored either, and they matter.
  ChoiceFile file = scene.read(choices);
  const auto plain = scene.scores(file.questions);
  file.questions[0].completions[1].insert(file.questions[0].completions[1].begin() + 3, scene.thought);
  const auto with = scene.scores(file.questions);
  const double alone = score_alone(scene.machine, *scene.model, file.questions[0], 1, scene.thought);
  CHECK(std::abs(with[0][1] - alone) < tolerance);
  CHECK(std::abs(with[0][1] - plain[0][1]) > 1e-3);
  CHECK(with[0][0] == plain[0][0]);
}

TEST_CASE("thought questions: contexts seen in both directions give other scores, the same together and one by one") {
  Scene scene;
  const ChoiceFile file = scene.read(choices);
  const auto one_way = scene.scores(file.questions), both_ways = scene.scores(file.questions, true);
  for (size_t q = 0; q < 4; ++q)
    for (size_t i = 0; i < both_ways[q].size(); ++i) {
      ChoiceQuestion alone = file.questions[q];
      alone.completions = {file.questions[q].completions[i]};
      CHECK(std::abs(scene.scores(std::span(&alone, 1), true)[0][0] - both_ways[q][i]) < 1e-5);
      // A context of one token has nothing behind it to see.
      const bool is_same = std::abs(one_way[q][i] - both_ways[q][i]) < 1e-5;
      CHECK(is_same == (file.questions[q].context.size() == 1));
    }
}

TEST_CASE("thought questions: more than fit into one cache are scored in several") {
  Scene scene;
  const ChoiceFile file = scene.read(choices);
  std::vector<ChoiceQuestion> many;
  for (int i = 0; i < 60; ++i) many.insert(many.end(), file.questions.begin(), file.questions.end());
  const auto few = scene.scores(file.questions), all = scene.scores(many);
  REQUIRE(all.size() == 240);
  for (size_t q = 0; q < all.size(); ++q)
    for (size_t i = 0; i < all[q].size(); ++i) CHECK(std::abs(all[q][i] - few[q % 4][i]) < 1e-5);
}

TEST_CASE("thought questions: wrong lines are errors that name file and line, long questions are counted") {
  const Scene scene;
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text, int64_t before = 0) {
    write_file(folder.path() / "q.jsonl", text);
    return scene.read((folder.path() / "q.jsonl").string(), before);
  };
  const std::string good = "{\"context\": \"a\", \"completions\": [\"b\"], \"answer\": 0}\n";
  const auto refused = [&](const std::string& line, const char* what) {
    CAPTURE(line);
    CHECK_THROWS_WITH_AS(read(good + line), doctest::Contains("q.jsonl: line 2"), Error);
    CHECK_THROWS_WITH_AS(read(good + line), doctest::Contains(what), Error);
  };
  refused("[1]", "no object");
  refused("{\"context\": ", "line 2");
  refused("{\"completions\": [\"b\"], \"answer\": 0}", "\"context\"");
  refused("{\"context\": 3, \"completions\": [\"b\"], \"answer\": 0}", "\"context\"");
  refused("{\"context\": \"a\", \"completions\": [], \"answer\": 0}", "\"completions\" is no list");
  refused("{\"context\": \"a\", \"completions\": \"b\", \"answer\": 0}", "\"completions\" is no list");
  refused("{\"context\": \"a\", \"completions\": [\"b\", 1], \"answer\": 0}", "completion 1 is no text");
  refused("{\"context\": \"a\", \"completions\": [\"b\", \"\"], \"answer\": 0}", "completion 1 is empty");
  refused("{\"context\": \"a\", \"completions\": [\"<t><t>\"], \"answer\": 0}", "completion 0 is empty");
  refused("{\"context\": \"a\", \"completions\": [\"b\"]}", "\"answer\"");
  refused("{\"context\": \"a\", \"completions\": [\"b\"], \"answer\": 1}", "\"answer\"");
  refused("{\"context\": \"a\", \"completions\": [\"b\"], \"answer\": -1}", "\"answer\"");
  refused("{\"context\": \"a\", \"completions\": [\"b\"], \"answer\": \"b\"}", "\"answer\"");
  refused("{\"context\": \"a\", \"completions\": [\"\u4e00\"], \"answer\": 0}", "character");
  CHECK_THROWS_WITH_AS(read("\n\n"), doctest::Contains("holds no question"), Error);

  // A context of 70 tokens and 11 of a completion, the last only predicted, take all 80 positions.
  const auto question = [](size_t completion) {
    const std::string context(70, 'a'), long_one(completion, 'b');
    return "{\"context\": \"" + context + "\", \"completions\": [\"b\", \"" + long_one + "\"], \"answer\": 0}\n";
  };
  CHECK(read(question(11)).questions.size() == 1);
  const ChoiceFile file = read(question(12) + good + question(300));
  CHECK(file.skipped == 2);
  REQUIRE(file.questions.size() == 1);
  CHECK(file.questions[0].line == 2);
  CHECK(read(good + question(11), 1).skipped == 1);
  CHECK_THROWS_WITH_AS(read(question(12)), doctest::Contains("all 1 questions are longer than the model"), Error);
  CHECK_THROWS_WITH_AS(question_names({"a/x.jsonl", "b/x.json"}), doctest::Contains("named x"), UsageError);
}

TEST_CASE("thought questions: the task counts right answers by file and in all, and predicts") {
  ThoughtSettings settings;
  settings.config.model.max_positions = 80;
  const std::string question = "{\"context\": \"the\", \"completions\": [\" mill\", \" hill\"]";
  const std::string other = settings.write("other.jsonl", question + ", \"answer\": 1}\n");
  settings.sections.thought.questions = {choices, other};
  const auto task = settings.task();
  std::string samples;
  const Metrics metrics = task->evaluate(settings.machine, samples);
  CHECK(metrics.size() == task->metric_names().size());
  double right[2] = {0, 0}, count[2] = {0, 0};
  std::istringstream lines(task->predictions());
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    const size_t file = json.at("file") == other;
    const auto scores = json.at("scores").get<std::vector<double>>();
    const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
    CHECK(json.at("choice") == best);
    CHECK(json.at("right") == (json.at("choice") == json.at("answer")));
    CHECK(json.at("right") == (json.at("label") == json.at("prediction")));
    right[file] += json.at("choice") == json.at("answer");
    ++count[file];
  }
  CHECK(count[0] == 4);
  CHECK(count[1] == 1);
  CHECK(metric(metrics, "accuracy_walk") == right[0] / 4);
  CHECK(metric(metrics, "accuracy_other") == right[1]);
  CHECK(metric(metrics, "accuracy") == (right[0] + right[1]) / 5);
  CHECK(metric(metrics, "skipped_questions") == 0);

  // Predictions need no answers, and are those of the evaluation.
  const std::string input = settings.write("in.jsonl", question + "}\n");
  task->predict(settings.machine, input, settings.file("out.jsonl"));
  const auto json = nlohmann::json::parse(read_text(settings.file("out.jsonl")));
  CHECK(json.size() == 3);
  CHECK(json.at("line") == 1);
  CHECK(json.at("scores").size() == 2);
  CHECK(task->predictions().find(json.at("scores").dump()) != std::string::npos);

  // A training on questions alone chooses its best model by them. One that begins with wrong questions is refused.
  settings.config.data.eval.clear();
  const auto of_questions = settings.task();
  CHECK(of_questions->best_metric() == std::pair<std::string, bool>{"accuracy", true});
  CHECK(of_questions->evaluate(settings.machine, samples).size() == of_questions->metric_names().size());
  settings.sections.thought.questions = {settings.write("bad.jsonl", "{}\n")};
  CHECK_THROWS_WITH_AS(settings.task(), doctest::Contains("bad.jsonl: line 1"), Error);
}

}  // namespace engine::test::test_thought_questions
