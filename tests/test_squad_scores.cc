#include "tasks/squad/answer_words.h"
#include "tasks/squad/scores.h"

#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/files.h"

namespace engine::test::test_squad_scores {

TEST_CASE("squad: an answer is compared without case, punctuation, articles and spacing") {
  CHECK(normalized_answer("  The   Cat's hat, an apple; A-Team!") == "cats hat apple ateam");
  CHECK(normalized_answer("theatre anthem a1") == "theatre anthem a1");
  CHECK(normalized_answer("the_end the\xc2\xa0" "end") == "theend end");  // _ is punctuation, U+00A0 is white space
  CHECK(normalized_answer("the-end") == "theend");
  // Quotation marks beyond ASCII stay, and the word between them is an article all the same.
  CHECK(normalized_answer("\xc3\x89t\xc3\xa9 \xe2\x80\x9cthe\xe2\x80\x9d") ==
        "\xc3\xa9t\xc3\xa9 \xe2\x80\x9c \xe2\x80\x9d");
  CHECK(normalized_answer("a an the").empty());
}

TEST_CASE("squad: exact match and F1 are the most over the true answers") {
  const AnswerScore score = score_answer("the green hat of Tom", {"blue hat", "Tom's green hat"}, false);
  CHECK(score.exact_match == 0);
  // "green hat of tom" has green and hat of "toms green hat": precision 2/4, recall 2/3.
  CHECK(score.f1 == doctest::Approx(2 * (0.5 * 2 / 3.0) / (0.5 + 2 / 3.0)));
  CHECK(score_answer("The green hat.", {"x", "green hat"}, false).exact_match == 1);
  // Words count as often as they occur.
  CHECK(score_answer("no no no", {"no yes"}, false).f1 == doctest::Approx(2 * (1 / 3.0) * 0.5 / (1 / 3.0 + 0.5)));
}

TEST_CASE("squad: no answer, as SQuAD 2.0 and SQuAD 1.1 score it") {
  CHECK(score_answer("", {}, true).f1 == 1);
  CHECK(score_answer("", {}, true).exact_match == 1);
  CHECK(score_answer("a hat", {}, true).f1 == 0);
  CHECK(score_answer("", {"a hat"}, true).f1 == 0);
  CHECK(score_answer("the", {"a"}, false).exact_match == 1);
  CHECK(score_answer("the", {"a"}, false).f1 == 0);
  AnswerScores scores(/*version_2=*/true);
  scores.add("hat", {"a hat"});
  scores.add("cat", {"a hat"});
  scores.add("", {});
  const std::vector<std::pair<std::string, double>> expected{
      {"exact_match", 200 / 3.0}, {"f1", 200 / 3.0},         {"jaccard", (0.5 + 0 + 1) / 3},
      {"has_answer_exact", 50},   {"has_answer_f1", 50},     {"no_answer_exact", 100},
      {"no_answer_f1", 100}};
  const auto metrics = scores.metrics();
  REQUIRE(metrics.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK(metrics[i].first == expected[i].first);
    CHECK(metrics[i].second == doctest::Approx(expected[i].second));
  }
}

TEST_CASE("squad: Jaccard's share of common words, in any script") {
  const std::string north = "\xe0\xa4\x89\xe0\xa4\xa4\xe0\xa5\x8d\xe0\xa4\xa4\xe0\xa4\xb0";
  const std::string land = "\xe0\xa4\xa6\xe0\xa5\x87\xe0\xa4\xb6";
  CHECK(score_answer(north, {north + " " + land}, false).jaccard == 0.5);
  CHECK(score_answer("The Hat the hat", {"the hat"}, false).jaccard == 1);
  CHECK(score_answer("hat.", {"hat"}, false).jaccard == 0);  // punctuation is a part of a word
}

TEST_CASE("squad: answers in other languages score what MLQA's scorer says") {
  const nlohmann::json cases = nlohmann::json::parse(read_text("tests/golden/answer_scores.json"));
  CHECK(cases.size() >= 16);
  for (const nlohmann::json& one : cases) {
    const std::string language = one["language"], answer = one["answer"];
    CAPTURE(answer);
    CHECK(normalized_answer_in(language, answer) == one["normalized"].get<std::string>());
    const AnswerScore score = score_answer_in(language, answer, one["truths"].get<std::vector<std::string>>());
    CHECK(score.exact_match == one["exact_match"].get<double>());
    CHECK(score.f1 == doctest::Approx(one["f1"].get<double>()));
  }
  // English names do, too, and a language that MLQA has not has no articles.
  CHECK(normalized_answer_in("German", "Die Katze") == "katze");
  CHECK(normalized_answer_in("hindi", "the") == "the");
  AnswerScores scores(/*version_2=*/false);
  scores.add("Die Katze", {"katze"}, "de");
  scores.add("Hund", {"katze"}, "de");
  scores.add("a", {"a"});
  std::map<std::string, double> metrics;
  for (const auto& [name, value] : scores.metrics()) metrics[name] = value;
  CHECK(metrics.at("mlqa_exact_de") == 50);
  CHECK(metrics.at("mlqa_f1_de") == 50);
  CHECK(metrics.at("jaccard_de") == doctest::Approx(0.25));
}

}  // namespace engine::test::test_squad_scores
