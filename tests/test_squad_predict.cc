// Predictions of the task squad: heat maps, readers that answer together, thresholds and the files that are written.
#include <doctest/doctest.h>

#include <cmath>

#include "core/csv.h"
#include "core/files.h"
#include "tasks/squad/heat_map.h"
#include "tasks/squad/null_threshold.h"
#include "tasks/squad/passages.h"
#include "tasks/squad/recipe.h"
#include "tests/program.h"
#include "tests/squad_letters.h"
#include "text/unicode.h"

namespace engine::test::test_squad_predict {

namespace fs = std::filesystem;

TEST_CASE("heat map: logits of windows and readers are averaged by character") {
  Letters letters;
  SquadConfig config{.max_length = 8, .doc_stride = 2, .n_best_size = 3, .max_answer_length = 2, .merge = "logits"};
  const std::string asked = file_of("bb c d e f", {question("1", "y", "c", 3)});
  const EncodedQuestions questions(read(letters, asked), *letters.tokenizer(), config);
  // The windows are [CLS] y [SEP], four tokens and [SEP]. The word bb is one token, which nothing knows.
  REQUIRE(questions.windows().size() >= 2);
  std::vector<std::vector<float>> all_logits;
  std::vector<WindowLogits> windows;
  Random random(1, 1);
  const size_t context = count_characters(std::string("bb c d e f"));
  std::vector<double> starts(context), ends(context), counts(context);
  double none = INFINITY;
  for (const Window& window : questions.windows()) {
    std::vector<float>& own = all_logits.emplace_back(2 * questions.length(window));
    for (float& value : own) value = random.normal();
    none = std::min(none, static_cast<double>(own[0]) + static_cast<double>(own[1]));
    const size_t first = questions.first_of_context(window);
    for (size_t token = 0; token < window.end - window.begin; ++token)
      for (auto c = questions.offsets(window, token).first; c < questions.offsets(window, token).second; ++c) {
        starts[static_cast<size_t>(c)] += static_cast<double>(own[2 * (first + token)]);
        ends[static_cast<size_t>(c)] += static_cast<double>(own[2 * (first + token) + 1]);
        counts[static_cast<size_t>(c)] += 1;
      }
  }
  for (size_t w = 0; w < all_logits.size(); ++w) windows.push_back({&questions.windows()[w], all_logits[w]});
  // The best of all pairs of characters that begin and end a word is the answer.
  double best = -INFINITY;
  size_t begin = 0, end = 0;
  const std::vector<size_t> word_begins{0, 3, 5, 7, 9}, word_ends{1, 3, 5, 7, 9};
  for (size_t i = 0; i < 5; ++i)
    for (size_t j = i; j < std::min<size_t>(5, i + 2); ++j) {
      const size_t s = word_begins[i], e = word_ends[j];
      const double score = starts[s] / counts[s] + ends[e] / counts[e];
      if (score > best) best = score, begin = s, end = e + 1;
    }
  config.n_best_size = 20;
  Candidate null;
  const ModelReading reading{&questions, windows};
  const std::vector<Candidate> candidates = heat_map_candidates(std::span(&reading, 1), config, null);
  CHECK(null.score == doctest::Approx(none));
  const auto top = std::max_element(candidates.begin(), candidates.end(),
                                    [](const Candidate& a, const Candidate& b) { return a.score < b.score; });
  CHECK(top->score == doctest::Approx(best));
  CHECK(top->begin == static_cast<int32_t>(begin));
  CHECK(top->end == static_cast<int32_t>(end));
  // Two equal readers say what one says.
  const ModelReading both[] = {reading, reading};
  const FoundAnswers one = find_answers(std::span(&reading, 1), config), two = find_answers(both, config);
  REQUIRE(one.candidates.size() == two.candidates.size());
  for (size_t i = 0; i < one.candidates.size(); ++i) {
    CHECK(one.candidates[i].text == two.candidates[i].text);
    CHECK(one.candidates[i].score == doctest::Approx(two.candidates[i].score));
  }
  // The score of probabilities is the logarithm of a product of means of probabilities: of one window it is that of its
  // softmax.
  config.merge = "probabilities";
  config.max_length = 32;
  const EncodedQuestions whole(read(letters, asked), *letters.tokenizer(), config);
  REQUIRE(whole.windows().size() == 1);
  std::vector<float> values(2 * whole.length(whole.windows()[0]));
  for (float& value : values) value = random.normal();
  double sums[2] = {};
  for (size_t i = 0; i < values.size(); ++i) sums[i % 2] += std::exp(static_cast<double>(values[i]));
  const WindowLogits only[] = {{&whole.windows()[0], values}};
  const FoundAnswers found = find_answers(whole, only, config);
  for (const Candidate& candidate : found.candidates) {
    CHECK(candidate.score < 0);
    if (candidate.text != "c") continue;
    const size_t place = whole.first_of_context(whole.windows()[0]) + 1;
    const double logits = static_cast<double>(values[2 * place] + values[2 * place + 1]);
    const double expected = logits - std::log(sums[0] * sums[1]);
    CHECK(candidate.score == doctest::Approx(expected));
  }
  config.merge = "best";
  CHECK_THROWS_AS(find_answers(both, config), Error);
}

TEST_CASE("null thresholds: the best one of all that could be chosen") {
  Random random(4, 4);
  for (int round = 0; round < 50; ++round) {
    NullThresholds thresholds;
    struct Row {
      double odds, exact;
      bool has_answer;
    };
    std::vector<Row> rows;
    for (int i = 0; i < 12; ++i) {
      const bool has_answer = random.below(2) == 0;
      rows.push_back({static_cast<double>(random.below(6)), has_answer && random.below(2) ? 1.0 : 0.0, has_answer});
      AnswerScore score;
      score.exact_match = score.f1 = rows.back().exact;
      thresholds.add(rows.back().odds, score, has_answer);
    }
    const auto exact_with = [&](double threshold) {
      double sum = 0;
      for (const Row& row : rows) sum += row.odds > threshold ? !row.has_answer : row.exact;
      return 100 * sum / static_cast<double>(rows.size());
    };
    double best = 0;
    for (double threshold = -1; threshold < 7; ++threshold) best = std::max(best, exact_with(threshold));
    const auto found = thresholds.best();
    CHECK(found[0].first == "best_exact");
    CHECK(found[0].second == doctest::Approx(best));
    CHECK(exact_with(found[1].second) == doctest::Approx(best));
    CHECK(found[2].second == doctest::Approx(best));
  }
  CHECK(NullThresholds().best()[0].second == 0);
}

TEST_CASE("squad: readers answer together, tables get tables, negatives get scores, and long contexts are cut") {
  Letters letters;
  letters.config.training.max_steps = 250;
  letters.trained();
  const std::string run = (fs::path(letters.config.output_dir) / "run").string();
  const std::string options = "task = \"squad\"\n[squad]\nmax_length = 12\ndoc_stride = 4\nmax_answer_length = 1\n";
  const auto reader = [&](const std::string& more) {
    auto settings = std::make_unique<TaskSettings>(options + more);
    settings->config.init = run;
    return settings;
  };
  const auto first = reader("merge = \"logits\"\nstrides = [\"2\"]\n"), second = reader("merge = \"logits\"\n");
  const auto task = first->task(Use::evaluation);
  task->join(second->task(Use::evaluation));
  const std::string table = first->write(
      "ask.csv", "id,context,question,answer_text,answer_start\n\"1,a\",b c d e f g h i b b x c d,y,c,24\n"
                 "2,\"b x d\nb c e\nb d\",y,d,4\n");
  const fs::path output = first->file("answers");
  task->predict(first->machine, table, output);
  const json predictions = json::parse(read_text(output / "predictions.json"));
  CHECK(predictions["1,a"] == "c");
  CHECK(predictions["2"] == "d");
  CHECK(read_text(output / "predictions.csv") == "id,PredictionString\n\"1,a\",c\n2,d\n");
  CHECK_FALSE(fs::exists(output / "negative_scores.json"));

  const auto alone = reader("merge = \"best\"\n");
  const auto other = reader("");
  const auto best = alone->task(Use::evaluation);
  CHECK_THROWS_WITH_AS(best->join(other->task(Use::evaluation)), doctest::Contains("squad.merge"), UsageError);

  const auto scorer = reader("score_negatives = true\nmin_paragraph_length = 3\n");
  scorer->task(Use::evaluation)->predict(scorer->machine, table, output);
  const json scores = json::parse(read_text(output / "negative_scores.json"));
  CHECK(scores.size() == 1);  // the line "b d" holds the answer's text
  CHECK(scores["2#2"].get<double>() > 0);
  CHECK(scores["2#2"].get<double>() < 1);

  const auto cut = reader("max_contents = 3\n");
  cut->task(Use::evaluation)->predict(cut->machine, table, output);
  const std::string early = json::parse(read_text(output / "predictions.json"))["1,a"];
  CHECK(std::string("b c d").find(early) != std::string::npos);
}

TEST_CASE("squad: an answer cuts no word where words are to stay whole") {
  const WordEdges edges("ab \xe0\xa4\xb0\xe0\xa4\xbe, c_1-d");  // the second word is a letter and a mark
  CHECK(edges.are_whole(0, 2));
  CHECK_FALSE(edges.are_whole(1, 2));
  CHECK_FALSE(edges.are_whole(3, 4));
  CHECK(edges.are_whole(3, 5));
  CHECK(edges.are_whole(2, 5));
  CHECK_FALSE(edges.are_whole(7, 9));
  CHECK(edges.are_whole(7, 10));
  CHECK(edges.are_whole(11, 12));

  Letters letters;
  SquadConfig config{.max_length = 32, .doc_stride = 4};
  // The tokenizer takes _ for punctuation, so that the word b_c has three tokens.
  const std::string asked = file_of("b_c d", {question("1", "y", "d", 4)});
  const EncodedQuestions questions(read(letters, asked), *letters.tokenizer(), config);
  const Window& window = questions.windows()[0];
  REQUIRE(window.end == 4);
  std::vector<float> logits(2 * questions.length(window));
  const size_t first = questions.first_of_context(window);
  logits[2 * first] = logits[2 * first + 1] = 5;  // b
  logits[2 * (first + 2) + 1] = 3;                // c
  const WindowLogits all[] = {{&window, logits}};
  CHECK(find_answers(questions, all, config).text == "b");
  config.whole_words = true;
  CHECK(find_answers(questions, all, config).text == "b_c");
}

TEST_CASE("squad: contexts are cut behind a word") {
  QuestionSet set;
  for (const char* text : {" a  bb\xc2\xa0" "c d", "a bb", "a", ""}) set.contexts.push_back({text});
  cut_contexts(set, 2);
  CHECK(set.contexts[0].text == " a  bb");
  CHECK(set.contexts[0].document == 10);
  CHECK(set.contexts[1].text == "a bb");
  CHECK(set.contexts[1].document == 0);
  CHECK(set.contexts[2].text == "a");
  cut_contexts(set, 0);
  CHECK(set.contexts[0].text == " a  bb");
}

TEST_CASE("squad: files of any size are answered piece by piece") {
  Letters letters;
  letters.config.training.max_steps = 1;
  letters.trained();
  TaskSettings reader("task = \"squad\"\n[squad]\nmax_length = 32\ndoc_stride = 4\nversion_2 = true\n");
  reader.config.init = (fs::path(letters.config.output_dir) / "run").string();
  const auto task = reader.task(Use::evaluation);
  // Pieces end behind a context: the first has all questions about its contexts, in both forms.
  json paragraphs = json::array();
  std::string rows = "id,context,question\n";
  for (int p = 0; p < 3; ++p) {
    json questions = json::array();
    const std::string context = std::string("b c ") + static_cast<char>('d' + p);
    for (int q = 0; q < 3000; ++q) {
      const std::string id = std::to_string(p) + "-" + std::to_string(q);
      questions.push_back({{"id", id}, {"question", "y"}});
      rows.append(id).append(",").append(context).append(",y\n");
    }
    paragraphs.push_back({{"context", context}, {"qas", questions}});
  }
  const std::string file = reader.write("many.json", json{{"data", {{{"paragraphs", paragraphs}}}}}.dump());
  const std::string table = reader.write("many.csv", rows);
  for (const std::string& input : {file, table}) {
    std::vector<size_t> pieces;
    each_piece_of_questions({input}, AnswersWanted::no,
                            [&](QuestionSet set) { pieces.push_back(set.questions.size()); });
    CHECK(pieces == std::vector<size_t>{6000, 3000});
  }
  const fs::path output = reader.file("answers");
  task->predict(reader.machine, file, output);
  const json predictions = json::parse(read_text(output / "predictions.json"));
  CHECK(predictions.size() == 9000);
  CHECK(json::parse(read_text(output / "nbest_predictions.json")).size() == 9000);
  CHECK(json::parse(read_text(output / "null_odds.json")).size() == 9000);
  const fs::path of_table = reader.file("table_answers");
  task->predict(reader.machine, table, of_table);
  CHECK(json::parse(read_text(of_table / "predictions.json")) == predictions);
  // An error in a later piece leaves no files.
  std::string broken = read_text(file);
  broken.replace(broken.rfind("\"2-2999\""), 8, "\"0-0\"");
  const fs::path none = reader.file("no_answers");
  CHECK_THROWS_WITH_AS(task->predict(reader.machine, reader.write("broken.json", broken), none),
                       doctest::Contains("data[0].paragraphs[2].qas[2999]: the id \"0-0\" occurs a second time"),
                       Error);
  CHECK_FALSE(fs::exists(none / "predictions.json"));
}

TEST_CASE("squad: a context of a megabyte has its windows, and its answer in the last of them") {
  Letters letters;
  std::string context;
  while (context.size() < (1 << 20)) context += "b c d e f g ";
  context += "x h";
  const int64_t place = static_cast<int64_t>(context.size()) - 1;
  const EncodedQuestions questions(read(letters, file_of(context, {question("1", "y", "h", place)})),
                                   *letters.tokenizer(), {.max_length = 384, .doc_stride = 128});
  const size_t tokens = context.size() / 2 + 1;
  CHECK(questions.windows().size() == (tokens - 380 + 251) / 252 + 1);
  CHECK(questions.answer_in(questions.windows().back()).has_value());
  CHECK_FALSE(questions.answer_in(questions.windows().front()).has_value());
}

TEST_CASE("squad: models that answer together run in the first one's precision") {
  const Program program;
  write_letters(program.file("tokenizer"));
  const std::string train = program.write("train.json", letters_file(1, 4)),
                    dev = program.write("dev.json", letters_file(2, 3));
  const std::string config = program.write("task.cfg", R"(task = "squad"
threads = 1
device = "cpu"
[model]
architecture = "bert"
hidden_size = 32
num_layers = 1
num_heads = 2
max_positions = 32
initializer_range = 0.3
[squad]
max_length = 32
doc_stride = 4
merge = "logits"
[training]
max_steps = 1
)");
  const std::string runs = program.file("runs");
  for (const std::string precision : {"f32", "bf16"})
    REQUIRE(program.run({"train", config, "--output_dir", runs, "--name", precision, "--precision", precision,
                         "--data.train", train, "--data.tokenizer", program.file("tokenizer")})
                .code == 0);
  const auto answers = [&](const std::string& first, const std::string& second, const std::string& precision) {
    const std::string output = program.file("answers");
    REQUIRE(program.run({"predict", runs + "/" + first, "--ensemble", runs + "/" + second, "--input", dev, "--output",
                         output, "--precision", precision})
                .code == 0);
    return read_text(output + "/nbest_predictions.json");
  };
  for (const std::string precision : {"f32", "bf16"})
    CHECK(answers("f32", "bf16", precision) == answers("bf16", "f32", precision));
  CHECK(answers("f32", "bf16", "f32") != answers("f32", "bf16", "bf16"));
}

}  // namespace engine::test::test_squad_predict
