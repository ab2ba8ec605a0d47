// Tables of comma-separated values, and the questions that they hold.
#include "core/csv.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tasks/squad/examples.h"
#include "tests/error_text.h"
#include "tests/temporary.h"

namespace engine::test::test_csv {

namespace {

struct Row {
  int64_t line;
  std::vector<std::string> fields;
  bool operator==(const Row&) const = default;
};

std::vector<Row> rows_of(std::string_view text) {
  std::vector<Row> rows;
  read_csv(text, "t.csv", [&](int64_t line, const auto& fields) { rows.push_back({line, fields}); });
  return rows;
}

struct Table : TemporaryFolder {
  QuestionSet read(const std::string& text, AnswersWanted wanted = AnswersWanted::yes) {
    QuestionSet set;
    write_file(path() / "t.csv", text);
    read_questions(path() / "t.csv", wanted, set);
    return set;
  }
  // Without the folder.
  std::string error(const std::string& text) {
    const std::string what = error_of([&] { read(text); });
    const size_t at = what.find("t.csv");
    return at == std::string::npos ? what : what.substr(at + 5);
  }
};

const char* const names = "id,context,question,answer_text,answer_start,language\n";

}  // namespace

TEST_CASE("csv: fields, quotes, line ends and the numbers of lines") {
  using Rows = std::vector<Row>;
  CHECK(rows_of("a,b\nc,d") == Rows{{1, {"a", "b"}}, {2, {"c", "d"}}});
  CHECK(rows_of("a, b \r\n,\r\n") == Rows{{1, {"a", " b "}}, {2, {"", ""}}});
  CHECK(rows_of("\"x\ny \"\"z\"\"\",b\nc,d\n") == Rows{{1, {"x\ny \"z\"", "b"}}, {3, {"c", "d"}}});
  CHECK(rows_of("a\n\n\nb\n") == Rows{{1, {"a"}}, {4, {"b"}}});
  CHECK(rows_of("a\r\n\r\nb") == Rows{{1, {"a"}}, {3, {"b"}}});
  CHECK(rows_of("").empty());
  // A field that csv_field wrote is read as it was.
  for (const std::string text : {"", "plain", "a,b", "\"", "x\r\ny", " space "})
    CHECK(rows_of(csv_field(text) + ",end\n") == Rows{{1, {text, "end"}}});
}

TEST_CASE("csv: a quote that breaks the form is an error with its line") {
  CHECK(error_of([] { rows_of("a,b\nc,d\"e\"\n"); }).starts_with("t.csv:2: a quote stands inside a field"));
  CHECK(error_of([] { rows_of("a\n\"b\"c\n"); }).starts_with("t.csv:2: a quote"));
  CHECK(error_of([] { rows_of("a,b\n1,2\n3,\"never\nclosed\n"); }) ==
        "t.csv:3: a field of the row that begins here has no closing quote");
  // An error of a row's reader comes out.
  CHECK(error_of([] { read_csv("a\nb", "t", [](int64_t line, const auto&) { fail("line ", line); }); }) == "line 1");
}

TEST_CASE("squad table: questions, answers, folds and languages") {
  Table table;
  const QuestionSet set = table.read(
      std::string("fold,") + names +
      "0,1,\"b \xe0\xa4\x95, c\",y?,c,5,hindi\n2.0,2,\"b \xe0\xa4\x95, c\",z?,c,nan,tamil\n"
      ",3,d e,w?,,,\n,4,d e,w?,q,0,\n");
  REQUIRE(set.questions.size() == 4);
  CHECK(set.contexts.size() == 2);
  CHECK(set.contexts[0].text == "b \xe0\xa4\x95, c");
  CHECK(set.questions[0].fold == 0);
  CHECK(set.questions[0].language == "hindi");
  CHECK(set.questions[0].answers.at(0).begin == 5);
  CHECK(set.questions[1].fold == 2);
  CHECK(set.questions[1].context == 0);
  CHECK(set.questions[1].answers.at(0).begin == 5);  // a place that is not known is searched for
  CHECK(set.questions[2].fold == -1);
  CHECK(set.questions[2].answers.empty());
  CHECK(set.questions[2].truths.empty());
  CHECK(set.questions[3].truths == std::vector<std::string>{"q"});
  CHECK(set.moved == 1);
  CHECK(set.lost == 1);
  // Blank questions and contexts are left out of what has answers, and kept where each id wants a prediction.
  const std::string blank = std::string(names) + "1,b,y?,b,0,\n2,,y?,b,0,\n3,b,\"  \",b,0,\n";
  CHECK(table.read(blank).questions.size() == 1);
  CHECK(table.read(blank).blank == 2);
  CHECK(table.read(blank, AnswersWanted::no).questions.size() == 3);
  CHECK(table.read("question,id,context,other\ny?,1,b c,4\n", AnswersWanted::no).questions.at(0).text == "y?");
}

TEST_CASE("squad table: a row that is not right says where") {
  Table table;
  const std::string head = names;
  CHECK(table.error("") == ": holds no line with the names of columns, such as id,context,question");
  CHECK(table.error("id,context\n") == ":1: the column question is missing");
  CHECK(table.error("id,context,question\n") == ":1: the column answer_text is missing");
  CHECK(table.error("id,id,context,question\n") == ":1: the column id is there twice");
  CHECK(table.error(head + "1,b\n") == ":2: the row has 2 fields, the first line names 6 columns");
  CHECK(table.error(head + "1,\"b\nb\",y,b,0,\n1,b,y,b,0,\n") == ":4: the id \"1\" occurs a second time");
  CHECK(table.error(head + "1,b,y,b,first,\n") == ":2: answer_start is \"first\": it should be a whole number");
  CHECK(table.error(head + "1,b,y,b,0.5,\n") == ":2: answer_start is \"0.5\": it should be a whole number");
  CHECK(table.error(head + ",b,y,b,0,\n") == ":2: the id is empty");
  CHECK(table.error("fold," + head + "-1,1,b,y,b,0,\n") == ":2: fold is -1: it should not be negative");
  CHECK(table.error(head + "1,b\xe9,y,b,0,\n") == ":2: byte 233 is no valid UTF-8: save the table as UTF-8");
  CHECK(table.error(head + "1,b \"c\",y,b,0,\n").find(":2: a quote") == 0);
}

}  // namespace engine::test::test_csv
