// The documents of text files and of .jsonl files.
#include "tasks/documents.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/temporary.h"

namespace engine::test::test_documents {

namespace {

struct Found {
  std::vector<std::string> texts;
  std::vector<size_t> lines;
  size_t empty = 0;
};

Found documents_of(const std::string& name, const std::string& content) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / name).string();
  write_file(file, content);
  Found found;
  found.empty = for_each_piece({file}, [&](const DocumentPiece& piece) {
    found.texts.emplace_back(piece.text);
    found.lines.push_back(piece.line);
  });
  return found;
}

}  // namespace

TEST_CASE("documents: an empty text in a .jsonl is passed over and counted, as blank lines are passed over") {
  const Found found = documents_of("a.jsonl", R"({"text": ""}
{"text": "a"}

{"text": ""}
{"text": "b"}
)");
  CHECK(found.texts == std::vector<std::string>{"a", "b"});
  CHECK(found.lines == std::vector<size_t>{2, 5});
  CHECK(found.empty == 2);
  CHECK_THROWS_WITH_AS(documents_of("a.jsonl", "{\"text\": \"\"}\n"),
                       doctest::Contains("a.jsonl: holds no line with a \"text\" that is not empty"), Error);
}

TEST_CASE("documents: a line whose text is none is told with its value") {
  for (const auto& [line, error] : {std::pair{"[1]", "is a list in JSON, and each line should be an object"},
                                    {"{\"text\": 1}", "line 1: \"text\" is 1, it should be a string"},
                                    {"{\"text\": null}", "line 1: \"text\" is null, it should be a string"},
                                    {"{\"text\": [\"a\"]}", "line 1: \"text\" is [\"a\"], it should be a string"},
                                    {"{\"txt\": \"a\"}", "line 1 is no object with a \"text\""},
                                    {"\"a\"", "line 1 is no object with a \"text\""}})
    CHECK_THROWS_WITH_AS(documents_of("a.jsonl", line), doctest::Contains(error), Error);
}

TEST_CASE("documents: a .json file is read by lines, too, and a table is refused") {
  const std::string lines = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
  for (const char* name : {"a.json", "a.JSONL", "a.Json", "b.jsonl"})
    CHECK(documents_of(name, lines).texts == std::vector<std::string>{"a", "b"});
  CHECK_THROWS_WITH_AS(documents_of("a.json", "\xEF\xBB\xBF [\n{\"text\": \"a\"}\n]\n"),
                       doctest::Contains("a.json: is a list in JSON"), Error);
  for (const char* name : {"a.csv", "a.TSV"})
    CHECK_THROWS_WITH_AS(documents_of(name, "text\na\n"), doctest::Contains("is a table by its name"), Error);
  CHECK(documents_of("csv", "text\n").texts == std::vector<std::string>{"text\n"});
}

TEST_CASE("documents: a byte of zero is a character of the text") {
  const std::string text("a\0b c\n", 6);
  CHECK(documents_of("a.txt", text).texts == std::vector<std::string>{text});
}

}  // namespace engine::test::test_documents
