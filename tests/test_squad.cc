// The task squad: its files, windows, answers and predictions, on questions whose answers can be seen.
#include "tasks/squad/squad.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <span>

#include "core/random.h"
#include "tests/letters.h"
#include "tests/task_settings.h"

namespace engine::test {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

json question(const std::string& id, const std::string& text, const std::string& answer, int64_t start) {
  return {{"id", id}, {"question", text}, {"answers", {{{"text", answer}, {"answer_start", start}}}}};
}
std::string file_of(const std::string& context, const std::vector<json>& questions) {
  return json{{"data", {{{"title", "t"}, {"paragraphs", {{{"context", context}, {"qas", questions}}}}}}}}.dump();
}

// A context is some letters, with "x" before the one that is asked for. The question is one letter of no meaning.
std::string letters_file(uint64_t seed, int count) {
  Random random(seed, 1);
  json paragraphs = json::array();
  for (int i = 0; i < count; ++i) {
    const int words = 3 + static_cast<int>(random.below(5));
    const int at = static_cast<int>(random.below(static_cast<uint32_t>(words)));
    std::string context, answer;
    int64_t start = 0;
    for (int w = 0; w < words; ++w) {
      if (w == at) context += "x ";
      if (w == at) start = static_cast<int64_t>(context.size());
      const std::string letter(1, static_cast<char>('b' + random.below(20)));  // a is an article, and has no F1
      if (w == at) answer = letter;
      context += letter + (w + 1 < words ? " " : "");
    }
    paragraphs.push_back({{"context", context}, {"qas", {question("q" + std::to_string(i), "y", answer, start)}}});
  }
  return json{{"data", {{{"paragraphs", paragraphs}}}}}.dump();
}

struct Letters : TaskSettings {
  Letters() : TaskSettings(
      "task = \"squad\"\n[model]\narchitecture = \"bert\"\nhidden_size = 32\nnum_layers = 2\nnum_heads = 2\n"
      "max_positions = 32\ninitializer_range = 0.2\n[squad]\nmax_length = 32\ndoc_stride = 4\n[training]\n"
      "batch_size = 16\nmax_steps = 250\nlearning_rate = 4e-3\neval_every = 0\nsave_every = 0\n") {
    config.data.tokenizer = file("tokenizer");
    write_letters(config.data.tokenizer);
    config.data.train = {write("train.json", letters_file(1, 300))};
    config.data.eval = {write("dev.json", letters_file(2, 60))};
  }
  SquadTask& made() {
    task_ = task();
    return static_cast<SquadTask&>(*task_);
  }
  std::unique_ptr<Tokenizer> tokenizer() { return load_tokenizer(config.data.tokenizer); }

 private:
  std::unique_ptr<Task> task_;
};

QuestionSet read(Letters& letters, const std::string& text, AnswersWanted wanted = AnswersWanted::yes) {
  QuestionSet set;
  read_questions(letters.write("questions.json", text), wanted, set);
  return set;
}

std::string error_of(Letters& letters, const std::string& text) {
  try {
    read(letters, text);
  } catch (const Error& error) {
    const std::string what = error.what();
    return what.substr(what.find("questions.json") + 14);
  }
  return "";
}

}  // namespace

TEST_CASE("squad: answers are taken where they stand, and what stands nowhere is counted") {
  Letters letters;
  const std::string context = "\xc3\xa9 b c b d";  // the first character has two bytes
  const QuestionSet set =
      read(letters, file_of(context, {question("right", "y", "c", 4), question("moved", "y", "b", 5),
                                      question("lost", "y", "z", 0), question("bad", "y", "d", -7)}));
  REQUIRE(set.questions.size() == 4);
  CHECK(set.moved == 2);
  CHECK(set.lost == 1);
  CHECK(set.questions[0].answers[0].begin == 4);
  CHECK(set.questions[1].answers[0].begin == 6);  // the nearest
  CHECK(set.questions[1].answers[0].end == 7);
  CHECK(set.questions[2].answers.empty());
  CHECK(set.questions[2].truths == std::vector<std::string>{"z"});
  CHECK(set.questions[3].answers[0].begin == 8);
}

TEST_CASE("squad: a file that is not right says where") {
  Letters letters;
  CHECK(error_of(letters, "[]") == ": should be an object with the member \"data\", as SQuAD's files have it");
  CHECK(error_of(letters, "{\"data\": 3}") == ": \"data\" should be a list");
  CHECK(error_of(letters, "{\"data\": [{\"paragraphs\": [{\"qas\": []}]}]}").find("data[0].paragraphs[0]") !=
        std::string::npos);
  CHECK(error_of(letters, file_of("a b", {question("1", "y", "a", 0), question("1", "y", "b", 2)})) ==
        ": data[0].paragraphs[0].qas[1]: the id \"1\" occurs a second time");
  CHECK(error_of(letters, file_of("a b", {json{{"id", "1"}, {"question", "y"}}}))
            .find("question \"1\" has no \"answers\"") != std::string::npos);
  CHECK(error_of(letters, file_of("a b", {json{{"id", 1}, {"question", "y"}}})).find("qas[0]") != std::string::npos);
  CHECK(read(letters, file_of("a b", {json{{"id", "1"}, {"question", "y"}}}), AnswersWanted::no).questions.size() == 1);
  // A question that is marked as impossible has no answer, whatever stands beside it.
  json impossible = question("1", "y", "a", 0);
  impossible["is_impossible"] = true;
  CHECK(read(letters, file_of("a b", {impossible})).questions[0].answers.empty());
}

TEST_CASE("squad: windows cover a context, and one that holds the answer knows its tokens") {
  Letters letters;
  std::string context = "a";
  for (int i = 1; i < 40; ++i) context += std::string(" ") + static_cast<char>('a' + i % 20);
  SquadConfig config{.max_length = 16, .doc_stride = 5};
  // [CLS] y [SEP] and [SEP] leave 12 tokens of the context; each window begins 7 behind the last.
  const std::string asked = file_of(context, {question("1", "y", "k l", 20)});
  const EncodedQuestions questions(read(letters, asked), *letters.tokenizer(), config);
  std::vector<std::pair<size_t, size_t>> parts;
  for (const Window& window : questions.windows()) parts.emplace_back(window.begin, window.end);
  CHECK(parts == std::vector<std::pair<size_t, size_t>>{{0, 12}, {7, 19}, {14, 26}, {21, 33}, {28, 40}});
  const auto first = questions.answer_in(questions.windows()[0]), second = questions.answer_in(questions.windows()[1]);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(*first == std::pair<size_t, size_t>{3 + 10, 3 + 11});
  CHECK(*second == std::pair<size_t, size_t>{3 + 3, 3 + 4});
  CHECK_FALSE(questions.answer_in(questions.windows()[2]));
  CHECK(questions.framed(questions.windows()[1]).ids.size() == questions.length(questions.windows()[1]));
  // Half of the answer is not the answer.
  config.max_length = 15;
  const EncodedQuestions shorter(read(letters, asked), *letters.tokenizer(), config);
  CHECK_FALSE(shorter.answer_in(shorter.windows()[0]));
  config.doc_stride = 11;
  CHECK_THROWS_WITH_AS(EncodedQuestions(read(letters, file_of(context, {question("1", "y", "a", 0)})),
                                        *letters.tokenizer(), config),
                       doctest::Contains("question \"1\""), Error);
}

TEST_CASE("squad: answers are the best pairs of a window's likeliest beginnings and ends") {
  Letters letters;
  SquadConfig config{.max_length = 32, .doc_stride = 4, .n_best_size = 3, .max_answer_length = 2};
  const EncodedQuestions questions(read(letters, file_of("a b c d", {question("1", "y", "b", 2)})),
                                   *letters.tokenizer(), config);
  const Window& window = questions.windows()[0];
  // [CLS] y [SEP] a b c d [SEP]
  std::vector<float> logits{1, 1, 9, 9, 0, 0, 2, 0, 5, 1, 4, 6, 0, 3, 0, 0};
  const WindowLogits all[] = {{&window, logits}};
  const auto texts = [&](const FoundAnswers& found) {
    std::vector<std::string> list;
    for (const Candidate& candidate : found.candidates) list.push_back(candidate.text);
    return list;
  };
  // Beginnings: y (in no context), b, c. Ends: y, c, d. "b c d" is too long, and "c b" is none.
  FoundAnswers found = find_answers(questions, all, config);
  CHECK(texts(found) == std::vector<std::string>{"b c", "c", "c d"});
  CHECK(found.text == "b c");
  CHECK(found.candidates[0].score == 11);
  CHECK(found.candidates[1].score == 10);
  double sum = 0;
  for (const Candidate& candidate : found.candidates) sum += candidate.probability;
  CHECK(sum == doctest::Approx(1));
  CHECK(found.candidates[0].probability / found.candidates[1].probability == doctest::Approx(std::exp(1.0)));
  // No answer is a candidate, and stays one where others are better. Its score is that of [CLS], 2.
  config.version_2 = true;
  found = find_answers(questions, all, config);
  CHECK(texts(found) == std::vector<std::string>{"b c", "c", "c d", ""});
  CHECK(found.null_odds == 2 - 11);
  CHECK(found.text == "b c");
  config.null_score_diff_threshold = -9.5;
  CHECK(find_answers(questions, all, config).text.empty());
  // The answer is "empty", as in run_qa, where nothing of the context is likely.
  std::vector<float> elsewhere{1, 1, 9, 9, 8, 8, -2, -2, -2, -2, -2, -2, -2, -2, 7, 7};
  const WindowLogits nothing[] = {{&window, elsewhere}};
  config.null_score_diff_threshold = 0;
  CHECK(texts(find_answers(questions, nothing, config)) == std::vector<std::string>{"empty", ""});
  config.version_2 = false;
  CHECK(find_answers(questions, nothing, config).text == "empty");
}

TEST_CASE("squad: a batch's spans are weights of the meant tokens, smoothed, and of windows without the answer") {
  Letters letters;
  letters.config.data.train = {
      letters.write("one.json", file_of("a b c", {question("1", "y", "b", 2), question("2", "y", "lost", 0)}))};
  letters.config.training.batch_size = 2;
  letters.config.training.label_smoothing = 0.5f;
  letters.sections.squad.start_weight = 3;
  letters.sections.squad.negative_weight = 0.25;
  SequenceBatch batch;
  letters.made().batch_of(0, batch);
  REQUIRE(batch.sequences() == 2);
  CHECK(batch.weight() == 2);
  for (size_t s = 0; s < 2; ++s) {
    const auto begin = static_cast<size_t>(batch.offsets[s]), end = static_cast<size_t>(batch.offsets[s + 1]);
    double starts = 0, ends = 0;
    for (size_t i = begin; i < end; ++i) {
      starts += static_cast<double>(batch.targets.spans[2 * i]);
      ends += static_cast<double>(batch.targets.spans[2 * i + 1]);
    }
    const bool has_answer = starts > 0.5;
    CHECK(starts == doctest::Approx(has_answer ? 0.75 : 0.25 * 0.75));
    CHECK(ends == doctest::Approx(has_answer ? 0.25 : 0.25 * 0.25));
    const size_t meant = begin + (has_answer ? 4 : 0);  // [CLS] y [SEP] a b
    CHECK(static_cast<double>(batch.targets.spans[2 * meant]) / starts ==
          doctest::Approx(0.5 + 0.5 / static_cast<double>(end - begin)));
  }
}

TEST_CASE("squad: a small encoder learns to answer, is evaluated again as it was, and its predictions are files") {
  Letters letters;
  SquadTask& task = letters.made();
  REQUIRE(train_task(letters.config, letters.options, task, letters.machine).exit_code() == 0);
  std::string samples;
  const Metrics metrics = task.evaluate(letters.machine, samples);
  CHECK(metric(metrics, "exact_match") >= 90);
  CHECK(metric(metrics, "f1") >= metric(metrics, "exact_match"));
  CHECK(metric(metrics, "start_accuracy") >= 0.9);
  CHECK(samples.find("       answer: ") != std::string::npos);

  // The saved model is evaluated alone, and answers a file that has no answers.
  TaskSettings again("task = \"squad\"\n[squad]\nmax_length = 32\ndoc_stride = 4\nversion_2 = true\n");
  again.config.init = (fs::path(letters.config.output_dir) / "run").string();
  again.config.data.eval = letters.config.data.eval;
  const auto loaded = again.task(Use::evaluation);
  for (const char* name : {"loss", "exact_match", "f1"})
    CHECK(metric(loaded->evaluate(again.machine, samples), name) == metric(metrics, name));
  const json unanswered{{"id", "7"}, {"question", "y"}};
  const fs::path answers = again.file("answers");
  loaded->predict(again.machine, again.write("ask.json", file_of("b b x c d", {unanswered})), answers);
  const auto read_json = [&](const char* name) { return json::parse(read_text(answers / name)); };
  const json predictions = read_json("predictions.json"), list = read_json("nbest_predictions.json");
  CHECK(predictions["7"] == "c");
  CHECK(list["7"][0]["text"] == "c");
  double sum = 0;
  for (const json& candidate : list["7"]) sum += candidate["probability"].get<double>();
  CHECK(sum == doctest::Approx(1));
  CHECK(read_json("null_odds.json")["7"].get<double>() < 0);
}

TEST_CASE("squad: what cannot be is refused") {
  Letters letters;
  letters.sections.squad.max_length = 33;
  CHECK_THROWS_WITH_AS(letters.made(), doctest::Contains("squad.max_length is 33, but the model has only 32 positions"),
                       UsageError);
  letters.sections.squad.max_length = 32;
  letters.sections.squad.start_weight = letters.sections.squad.end_weight = 0;
  CHECK_THROWS_AS(letters.made(), UsageError);
  letters.sections.squad.start_weight = 1;
  letters.config.data.train = {letters.write("empty.json", "{\"data\": []}")};
  CHECK_THROWS_WITH_AS(letters.made(), doctest::Contains("data.train holds no question"), UsageError);
}

}  // namespace engine::test
