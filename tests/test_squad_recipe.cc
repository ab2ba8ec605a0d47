// The recipe that changes questions before windows are made, on texts whose right form can be seen.
#include "tasks/squad/recipe.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "tasks/squad/confusing.h"
#include "tasks/squad/passages.h"
#include "tests/error_text.h"
#include "tests/temporary.h"
#include "text/unicode.h"

namespace engine::test::test_squad_recipe {

namespace {

// Adds a question about the set's last context, whose answer begins at its `nth` occurrence.
void ask(QuestionSet& set, const std::string& id, const std::string& answer, int nth = 0) {
  Question question{.id = id, .text = "which one?", .context = set.contexts.size() - 1};
  const std::string& context = set.contexts.back().text;
  size_t at = context.find(answer);
  for (; nth > 0; --nth) at = context.find(answer, at + 1);
  const auto begin = static_cast<int64_t>(count_characters(context.substr(0, at)));
  question.answers.push_back({answer, begin, begin + static_cast<int64_t>(count_characters(answer))});
  question.truths.push_back(answer);
  set.questions.push_back(question);
}

QuestionSet one(const std::string& context, const std::string& answer, int nth = 0) {
  QuestionSet set;
  set.contexts.push_back({context});
  ask(set, "q", answer, nth);
  return set;
}

const std::string& context_of(const QuestionSet& set, size_t question = 0) {
  return set.contexts[set.questions.at(question).context].text;
}

RecipeCounts follow_recipe(QuestionSet& set, const SquadConfig& config, uint64_t seed) {
  Recipe recipe(config, seed);
  if (recipe.needs_answers()) recipe.learn_answers(set);
  recipe.follow(set);
  return recipe.counts();
}

// Every answer stands where it is said to stand.
void check_places(const QuestionSet& set) {
  for (const Question& question : set.questions)
    for (const AnswerSpan& answer : question.answers) {
      const std::string& context = set.contexts[question.context].text;
      const size_t at = byte_of(context, answer.begin);
      CHECK(context.substr(at, answer.text.size()) == answer.text);
      CHECK(answer.end - answer.begin == static_cast<int64_t>(count_characters(answer.text)));
    }
}

}  // namespace

TEST_CASE("passages: lines and sentences") {
  const auto texts = [](const std::string& text, const std::vector<ByteRange>& parts) {
    std::vector<std::string> list;
    for (const auto& [begin, end] : parts) list.push_back(text.substr(begin, end - begin));
    return list;
  };
  const std::string lines = "a b\n\nc";
  CHECK(texts(lines, lines_of(lines)) == std::vector<std::string>{"a b", "", "c"});
  const std::string text = "It is 3.5 m.  So? \xe0\xa4\x95\xe0\xa5\xa4 Yes!\nNo";
  CHECK(texts(text, sentences_of(text)) ==
        std::vector<std::string>{"It is 3.5 m.  ", "So? ", "\xe0\xa4\x95\xe0\xa5\xa4 ", "Yes!\n", "No"});
  CHECK(sentences_of("").empty());
}

TEST_CASE("squad recipe: without an option nothing changes") {
  QuestionSet set = one("a\nb", "b");
  CHECK(follow_recipe(set, {}, 1).text().empty());
  CHECK(context_of(set) == "a\nb");
  CHECK(set.contexts[0].document == 0);
}

TEST_CASE("squad recipe: the gold line is the context, and the others are negatives") {
  const std::string first = "\xc3\xa9t\xc3\xa9 one", second = "two it is", third = "one more";
  QuestionSet set = one(first + "\n" + second + "\n" + third + "\nx", "it");
  ask(set, "over", "one\ntwo");
  set.questions.push_back({.id = "none", .text = "?", .context = 0});
  const SquadConfig config{.paragraphs = "gold", .negatives = "uniform", .min_paragraph_length = 2};
  const RecipeCounts counts = follow_recipe(set, config, 1);
  check_places(set);
  CHECK(counts.without_paragraph == 1);
  CHECK(counts.negatives == 2);
  REQUIRE(set.questions.size() == 4);
  CHECK(context_of(set) == second);
  CHECK(set.questions[0].answers[0].begin == 4);
  const Context& gold = set.contexts[set.questions[0].context];
  CHECK(gold.begin == 8);  // characters of the first line and its end
  CHECK(gold.document == 8 + 10 + 9 + 1);
  CHECK(set.questions[1].id == "q#1");
  CHECK(context_of(set, 1) == first);
  CHECK(set.questions[1].answers.empty());
  CHECK(set.questions[1].truths.empty());
  CHECK(set.questions[2].id == "q#3");
  // A question without an answer keeps its context.
  CHECK(context_of(set, 3) == first + "\n" + second + "\n" + third + "\nx");
}

TEST_CASE("squad recipe: a line with the answer's text is no negative, and goes where it repeats the answer") {
  const std::string text = "it was\nso it is\nand it ends\nfar off";
  QuestionSet set = one(text, "it", 1);
  CHECK(follow_recipe(set, {.negatives = "uniform", .min_paragraph_length = 0}, 1).negatives == 1);
  CHECK(context_of(set) == text);
  CHECK(context_of(set, 1) == "far off");
  set = one(text, "it", 1);
  CHECK(follow_recipe(set, {.remove_multi_answer_sentences = true}, 1).dropped_lines == 2);
  CHECK(context_of(set) == "so it is\nfar off");
  check_places(set);
  // An answer over two lines keeps both.
  set = one("a b\nc d\ne b\nc", "b\nc");
  follow_recipe(set, {.remove_multi_answer_sentences = true}, 1);
  CHECK(context_of(set) == "a b\nc d\ne b\nc");
  // Negatives have the numbers of the document's lines, whatever was left out, so that scores find them.
  set = one(text, "it", 1);
  follow_recipe(set, {.negatives = "uniform", .min_paragraph_length = 0, .remove_multi_answer_sentences = true}, 1);
  CHECK(set.questions.at(1).id == "q#4");
}

TEST_CASE("squad recipe: hard negatives come as often as their scores say") {
  TemporaryFolder folder;
  const std::string text = "it is\naaaa\nbbbb\ncccc";
  const auto hard = [&](double ratio) {
    return SquadConfig{.paragraphs = "gold", .negatives = "hard", .min_paragraph_length = 1,
                       .negative_scores = {(folder.path() / "scores.json").string()}, .negative_ratio = ratio};
  };
  write_file(folder.path() / "scores.json", "{\"q#2\": 0.9, \"q#3\": 0.3, \"q#4\": 0}");
  QuestionSet set = one(text, "it");
  set.questions[0].share = 2;
  CHECK(follow_recipe(set, hard(1), 1).negatives == 2);  // one has no part
  REQUIRE(set.questions.size() == 3);
  CHECK(set.questions[0].share == 2);
  CHECK(set.questions[1].share == doctest::Approx(2 * 0.75));
  CHECK(set.questions[2].share == doctest::Approx(2 * 0.25));
  set = one(text, "it");
  follow_recipe(set, hard(0), 1);
  REQUIRE(set.questions.size() == 2);
  CHECK(set.questions[1].id == "q#2");
  CHECK(set.questions[1].share == 1);
  write_file(folder.path() / "scores.json", "{\"q#2\": 0.9}");
  set = one(text, "it");
  CHECK(error_of([&] { follow_recipe(set, hard(1), 1); }).find("\"q#3\"") != std::string::npos);
  write_file(folder.path() / "scores.json", "{\"q#2\": \"much\"}");
  CHECK(error_of([&] { follow_recipe(set, hard(1), 1); }).find("\"q#2\" has no score") != std::string::npos);
}

TEST_CASE("squad recipe: sentences change places, and the answer goes with its own") {
  std::string text = "A a. Bb b. C. D d d. The answer. F. \nG g. H h";
  bool is_changed = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    QuestionSet set = one(text, "answer");
    follow_recipe(set, {.shuffle_sentences = true}, seed);
    check_places(set);
    is_changed = is_changed || context_of(set) != text;
    std::string before = text, after = context_of(set);
    CHECK(after.substr(after.find('\n')) == "\nG g. H h");  // a line's last sentence stays
    std::sort(before.begin(), before.end());
    std::sort(after.begin(), after.end());
    CHECK(before == after);
    // The same seed gives the same order.
    QuestionSet again = one(text, "answer");
    follow_recipe(again, {.shuffle_sentences = true}, seed);
    CHECK(context_of(again) == context_of(set));
    QuestionSet joined = one(text, "C. D d");
    follow_recipe(joined, {.shuffle_sentences = true}, seed);
    check_places(joined);
  }
  CHECK(is_changed);
}

TEST_CASE("squad recipe: confusing sentences change words and numbers, and never hold the answer") {
  TemporaryFolder folder;
  write_file(folder.path() / "words", "north south\ngreat small little\n\nélan ärger\n");
  QuestionSet set;
  set.contexts.push_back({"Rome lies in the North. It had 1000000 people in 117."});
  ask(set, "1", "Rome");
  ask(set, "2", "117");
  set.contexts.push_back({"The great lake is Onega. It is so. In 1996 it froze."});
  ask(set, "3", "Onega");
  ask(set, "4", "It");  // nothing but the answer would change
  ask(set, "5", "1996");
  set.contexts.push_back({"Élan is a word of Paris. So is élan."});
  ask(set, "6", "Paris");
  const SquadConfig config{.confusing_sentences = 1, .confusing_words = (folder.path() / "words").string()};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    QuestionSet made = set;
    const RecipeCounts counts = follow_recipe(made, config, seed);
    CHECK(counts.confusing >= 2);
    check_places(made);
    for (size_t q = 0; q < made.questions.size(); ++q) {
      const std::string& before = context_of(set, q);
      REQUIRE(context_of(made, q).starts_with(before));
      const std::string added = context_of(made, q).substr(before.size());
      CHECK(added.find(made.questions[q].truths[0]) == std::string::npos);
      if (q == 3) CHECK(added.empty());
      if (q == 0 && !added.empty()) CHECK(added.ends_with(" lies in the South."));
      if (q == 5 && !added.empty()) CHECK(added.starts_with(" Ärger is a word of "));
    }
  }
  // Half of the questions, drawn by the seed.
  SquadConfig half = config;
  half.confusing_sentences = 0;
  QuestionSet none = set;
  CHECK(follow_recipe(none, half, 1).confusing == 0);
  write_file(folder.path() / "words", "north south\xff\n");
  CHECK(error_of([&] { ConfusingSentences(folder.path() / "words"); }).ends_with(
      "words: is no valid UTF-8 at byte 11"));
  write_file(folder.path() / "words", "north south\nalone\n");
  CHECK(error_of([&] { ConfusingSentences(folder.path() / "words"); }).ends_with(
      "words:2: \"alone\" has no other word beside it"));
}

TEST_CASE("squad recipe: languages and folds") {
  QuestionSet set = one("b", "b");
  set.questions[0].language = "hindi";
  set.contexts.push_back({"c"});
  ask(set, "r", "c");
  QuestionSet copy = set;
  CHECK(error_of([&] { keep_languages(copy, {.languages = {"hindi"}}); }).find("question \"r\"") != std::string::npos);
  copy = set;
  keep_languages(copy, {.languages = {"hindi"}, .language = "english"});
  CHECK(copy.questions.size() == 1);
  CHECK(copy.questions[0].id == "q");
  copy = set;
  keep_languages(copy, {.language = "english"});
  CHECK(copy.questions.at(1).language == "english");

  set.questions[0].fold = 3;
  give_folds(set, {});
  CHECK(set.questions[1].fold == -1);
  ask(set, "s", "c");
  give_folds(set, {.folds = 5});
  CHECK(set.questions[0].fold == 3);  // the file's own
  CHECK(set.questions[1].fold >= 0);
  CHECK(set.questions[1].fold < 5);
  CHECK(set.questions[2].fold == set.questions[1].fold);  // the same context
  QuestionSet without = set, only = set;
  leave_out_fold(without, 3);
  leave_only_fold(only, 3);
  CHECK(without.questions.size() + only.questions.size() == set.questions.size());
  CHECK(only.questions.at(0).id == "q");
}

}  // namespace engine::test::test_squad_recipe
