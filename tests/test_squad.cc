// The task squad: its files, windows, answers and predictions, on questions whose answers can be seen.
#include "tasks/squad/squad.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "core/files.h"
#include "tasks/squad/place_tokens.h"
#include "tests/squad_letters.h"

namespace engine::test::test_squad {

namespace fs = std::filesystem;

namespace {

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
  CHECK(error_of(letters, "[]") == ": should be an object with the member \"data\", as SQuAD's files have it; "
                                   "questions a line are read from a file whose name ends with .jsonl");
  CHECK(error_of(letters, "{\"id\": \"1\", \"context\": \"a\"}").ends_with("whose name ends with .jsonl"));
  CHECK(error_of(letters, "{\"data\": 3}") == ": \"data\" should be a list");
  CHECK(error_of(letters, "{\"version\": \"1.1\"}").find("\"data\"") != std::string::npos);
  CHECK(error_of(letters, "{\"data\": [{\"paragraphs\": [3]}]}") ==
        ": data[0]: \"paragraphs\" should hold objects alone");
  CHECK(error_of(letters, "{\"data\": [4]}") == ": data[0]: should be an object");
  CHECK(error_of(letters, "{\"data\": [{\"paragraphs\": [{\"context\": \"a\"").find("not valid JSON") !=
        std::string::npos);
  // Members of other names are passed over, whatever they hold.
  CHECK(error_of(letters, "{\"other\": [{\"paragraphs\": [{\"context\": 3}]}], \"data\": []}").empty());
  CHECK(error_of(letters, "{\"data\": [{\"paragraphs\": [{\"qas\": []}]}]}").find("data[0].paragraphs[0]") !=
        std::string::npos);
  CHECK(error_of(letters, file_of("a b", {question("1", "y", "a", 0), question("1", "y", "b", 2)})) ==
        ": data[0].paragraphs[0].qas[1]: the id \"1\" occurs a second time");
  CHECK(error_of(letters, file_of("a b", {json{{"id", "1"}, {"question", "y"}}}))
            .find("question \"1\" has no \"answers\"") != std::string::npos);
  CHECK(error_of(letters, file_of("a b", {question("", "y", "a", 0)})).ends_with("qas[0]: the id is empty"));
  CHECK(error_of(letters, file_of("a b", {json{{"id", 1}, {"question", "y"}}})).find("qas[0]") != std::string::npos);
  CHECK(read(letters, file_of("a b", {json{{"id", "1"}, {"question", "y"}}}), AnswersWanted::no).questions.size() == 1);
  // A question that is marked as impossible has no answer, whatever stands beside it.
  json impossible = question("1", "y", "a", 0);
  impossible["is_impossible"] = true;
  CHECK(read(letters, file_of("a b", {impossible})).questions[0].answers.empty());
}

TEST_CASE("squad: a question a line is read as the same in SQuAD's schema, and an error names the line") {
  Letters letters;
  const auto read_lines = [&](const std::string& text, AnswersWanted wanted = AnswersWanted::yes) {
    QuestionSet set;
    read_questions(letters.write("questions.jsonl", text), wanted, set);
    return set;
  };
  const std::string first =
      R"({"id": "1", "context": "a b c", "question": "y", "answers": {"text": ["b", "c"], "answer_start": [2, 4]}})"
      "\n";
  const QuestionSet set = read_lines(
      first + "\n" + R"({"id": "2", "title": "t", "context": "a b c", "question": "z", "language": "hindi",)" +
      R"("fold": 3, "answers": {"text": [], "answer_start": []}})");
  REQUIRE(set.questions.size() == 2);
  CHECK(set.contexts.size() == 1);
  CHECK(set.questions[0].answers.size() == 2);
  CHECK(set.questions[0].answers[1].begin == 4);
  CHECK(set.questions[1].answers.empty());
  CHECK(set.questions[1].language == "hindi");
  CHECK(set.questions[1].fold == 3);
  const std::string asked = R"({"id": "2", "context": "a b", "question": "y")";
  CHECK(read_lines(asked + "}", AnswersWanted::no).questions.size() == 1);
  CHECK(read_lines(asked + R"(, "answers": {"text": ["b"]}})", AnswersWanted::no).questions[0].truths.size() == 1);
  const std::pair<std::string, const char*> wrong[] = {
      {"{\"id\": ", ": not valid JSON: "},
      {"[1]", ": should be an object"},
      {R"({"data": []})", ": holds articles of SQuAD's own schema: give the file a name that ends with .json"},
      {R"({"id": 3})", ": \"id\" is 3, it should be a string"},
      {R"({"id": "2", "context": "a"})", ": \"question\" is missing"},
      {R"({"id": "2", "question": "y"})", ": \"context\" is missing"},
      {R"({"id": "1", "context": "a", "question": "y", "answers": {"text": [], "answer_start": []}})",
       ": the id \"1\" occurs a second time"},
      {asked + "}", ": \"answers\" is missing"},
      {asked + R"(, "fold": -1})", ": \"fold\" is -1, it should be an integer, at least 0"},
      {asked + R"(, "answers": [{"text": "b", "answer_start": 2}]})",
       ": answers: should be an object with the lists \"text\" and \"answer_start\""},
      {asked + R"(, "answers": {"text": "b", "answer_start": [2]}})", ": answers: \"text\" should be a list"},
      {asked + R"(, "answers": {"text": ["b"]}})", ": answers: \"answer_start\" is missing"},
      {asked + R"(, "answers": {"text": ["b"], "answer_start": []}})",
       ": answers: \"text\" has 1 elements, \"answer_start\" 0"},
      {asked + R"(, "answers": {"text": [5], "answer_start": [2]}})", ": answers: text[0] is 5, it should be a string"},
      {asked + R"(, "answers": {"text": ["b"], "answer_start": ["2"]}})",
       ": answers: answer_start[0] is \"2\", it should be an integer"}};
  for (const auto& [line, error] : wrong) {
    CAPTURE(line);
    const std::string whole = "questions.jsonl: line 2" + std::string(error);
    CHECK_THROWS_WITH_AS(read_lines(first + line), doctest::Contains(whole.c_str()), Error);
  }
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
  // Each question has one window here, so that its losses are those of the evaluation.
  double loss = 0, right = 0, count = 0;
  std::istringstream lines(task.predictions());
  for (std::string line; std::getline(lines, line); ++count) {
    const json prediction = json::parse(line);
    loss += prediction.at("loss").get<double>();
    right += prediction.at("right").get<bool>();
    CHECK(prediction.at("label").size() == 1);
  }
  CHECK(loss / count == doctest::Approx(metric(metrics, "loss")).epsilon(1e-3));
  CHECK(100 * right / count == doctest::Approx(metric(metrics, "exact_match")));

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
  CHECK_THROWS_WITH_AS(letters.made(), doctest::Contains("data.train leaves no question"), UsageError);
}

TEST_CASE("squad: tokens of places stand before lines, have no characters and are no answers") {
  Letters letters;
  const std::string context = "a b c d e f\ng h\n" "a b c d e f g h";
  QuestionSet set = read(letters, file_of(context, {question("1", "y", "g h", 28)}));
  set.contexts[0].begin = 15;
  set.contexts[0].document = 60;
  SquadConfig config{.max_length = 64, .doc_stride = 4, .word_tokens = "lines", .context_token = true};
  CHECK_THROWS_WITH_AS(EncodedQuestions(set, *letters.tokenizer(), config),
                       doctest::Contains("the tokenizer has no token [CONTEXT=50]"), Error);
  const auto tokenizer = load_tokenizer(letters.config.data.tokenizer, {.special_tokens = place_tokens(config)});
  const EncodedQuestions questions(set, *tokenizer, config);
  const Window& window = questions.windows().at(0);
  const Framed framed = questions.framed(window);
  std::string spelled;
  for (const int32_t id : framed.ids) spelled += tokenizer->token(id) + " ";
  CHECK(spelled == "[CLS] y [SEP] [CONTEXT=50] [WORD=10] a b c d e f g h [WORD=20] a b c d e f g h [SEP] ");
  CHECK(questions.offsets(window, 1) == std::pair<int32_t, int32_t>{0, 0});
  CHECK(questions.offsets(window, 10) == std::pair<int32_t, int32_t>{16, 16});
  const auto answer = questions.answer_in(window);
  REQUIRE(answer);
  CHECK(*answer == std::pair<size_t, size_t>{3 + 17, 3 + 18});
  // A token of a place is likeliest, and is no answer.
  std::vector<float> logits(2 * framed.ids.size());
  logits[2 * (3 + 10)] = logits[2 * (3 + 10) + 1] = 9;
  logits[2 * (3 + 11)] = logits[2 * (3 + 11) + 1] = 5;
  const WindowLogits all[] = {{&window, logits}};
  CHECK(find_answers(questions, all, config).text == "a");
  config.word_tokens = "sentences";
  const std::string two = file_of("a b c d e. f g h i j", {question("1", "y", "j", 19)});
  const EncodedQuestions sentences(read(letters, two), *tokenizer, config);
  spelled.clear();
  for (const int32_t id : sentences.framed(sentences.windows()[0]).ids) spelled += tokenizer->token(id) + " ";
  CHECK(spelled.find("[WORD=0] a b c d e") != std::string::npos);
  CHECK(spelled.find("[WORD=10] f g h") != std::string::npos);
}

TEST_CASE("squad: a step between windows in place of an overlap") {
  Letters letters;
  std::string context = "a";
  for (int i = 1; i < 40; ++i) context += std::string(" ") + static_cast<char>('a' + i % 20);
  const std::string asked = file_of(context, {question("1", "y", "k l", 20)});
  const auto begins = [&](int64_t step) {
    const SquadConfig config{.max_length = 16, .window_step = step};
    const EncodedQuestions questions(read(letters, asked), *letters.tokenizer(), config);
    std::vector<size_t> list;
    for (const Window& window : questions.windows()) list.push_back(window.begin);
    return list;
  };
  CHECK(begins(10) == std::vector<size_t>{0, 10, 20, 30});
  CHECK(begins(100) == std::vector<size_t>{0, 12, 24, 36});  // no token is left out
}

TEST_CASE("squad: files have weights, a fold is kept for evaluation, and new tokens are trained, saved and loaded") {
  Letters letters;
  letters.sections.squad = {.max_length = 32, .doc_stride = 4, .file_weights = {"2", "0.5"}, .folds = 4, .fold = 1,
                            .word_tokens = "lines"};
  letters.config.data.train.push_back(letters.write("more.json", letters_file(9, 40)));
  // Ids differ from those of the first file.
  std::string more = read_text(letters.config.data.train[1]);
  for (size_t at = 0; (at = more.find(":\"q", at)) != std::string::npos; at += 3) more.replace(at, 3, ":\"r");
  write_file(letters.config.data.train[1], more);
  letters.config.data.eval.clear();
  letters.config.training.max_steps = 3;
  const std::string report = letters.made().start_report();
  CHECK(report.find("squad.fold: ") != std::string::npos);
  const int64_t steps = letters.made().steps_per_epoch();
  CHECK(steps > 16 * 2 * 200 / 16 / 16);
  letters.trained();
  const fs::path run = fs::path(letters.config.output_dir) / "run";
  CHECK(fs::exists(run / "last" / "tokenizer.json"));
  const auto tokenizer = load_tokenizer(run / "last");
  CHECK(tokenizer->id_of("[WORD=25000]"));
  CHECK(read_model_config(run / "last").vocab_size == tokenizer->vocab_size());
  letters.sections.squad.file_weights = {"2"};
  CHECK_THROWS_WITH_AS(letters.made(), doctest::Contains("squad.file_weights has 1 numbers, data.train 2 files"),
                       Error);
  letters.sections.squad.file_weights = {"2", "x"};
  CHECK_THROWS_WITH_AS(letters.made(), doctest::Contains("squad.file_weights has \"x\""), UsageError);
}

TEST_CASE("squad: logits that are no numbers answer nothing") {
  Letters letters;
  letters.config.training.max_steps = 1;
  letters.trained();
  TaskSettings broken("task = \"squad\"\n[squad]\nmax_length = 32\ndoc_stride = 4\n");
  broken.config.init = (fs::path(letters.config.output_dir) / "run").string();
  const auto task = broken.task(Use::evaluation);
  for (Parameter& parameter : task->parameters().all())
    if (parameter.name.starts_with("qa_outputs")) parameter.value.as<float>()[0] = NAN;
  task->parameters().values_changed(/*copies_too=*/true);
  CHECK_THROWS_WITH_AS(task->predict(broken.machine, letters.config.data.train[0], broken.file("answers")),
                       doctest::Contains("not finite"), Error);
}

}  // namespace engine::test::test_squad
