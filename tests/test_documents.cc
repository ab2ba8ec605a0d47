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
  CHECK_THROWS_WITH_AS(documents_of("a.jsonl", "{\"text\": 1}\n"), doctest::Contains("a.jsonl: line 1 is no object"),
                       Error);
}

TEST_CASE("documents: a byte of zero is a character of the text") {
  const std::string text("a\0b c\n", 6);
  CHECK(documents_of("a.txt", text).texts == std::vector<std::string>{text});
}

}  // namespace engine::test::test_documents
