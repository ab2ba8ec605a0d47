// The files of CoLA and SST-2, and what is told of those that are none.
#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tasks/classification/examples.h"
#include "tests/temporary.h"

namespace engine::test::test_glue_files {

namespace {

std::string error_of(const std::string& content, GlueFormat format) {
  TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "file.tsv";
  write_file(file, content);
  try {
    read_examples(file, format);
  } catch (const Error& error) {
    const std::string text = error.what();
    REQUIRE(text.starts_with(file.string()));
    return text.substr(file.string().size());
  }
  return "no error";
}

}  // namespace

TEST_CASE("GLUE files: sentences, labels and indices") {
  TemporaryFolder folder;
  const auto read = [&](const std::string& content, GlueFormat format) {
    write_file(folder.path() / "file.tsv", content);
    return read_examples(folder.path() / "file.tsv", format);
  };
  const ExampleFile sst2 = read(
      "\xEF\xBB\xBFsentence\tlabel\r\na good film \t1\r\n \t0\r\nso \"quoted , bad\t0", GlueFormat::sst2);
  REQUIRE(sst2.examples.size() == 3);
  CHECK(sst2.labelled);
  CHECK(sst2.empty == 1);
  CHECK(sst2.examples[0].text == "a good film");
  CHECK(sst2.examples[0].label == 1);
  CHECK(sst2.examples[2].text == "so \"quoted , bad");
  CHECK(sst2.examples[2].index == "2");
  // Blank lines at the end are nothing, an empty sentence there with its index is one; between others of a file of
  // sentences alone a blank line is an empty one, so that each line has its prediction.
  CHECK(read("label\tsentence\r\n1\ta\r\n\r\n \r\n\n", GlueFormat::sst2).examples.size() == 1);
  CHECK(read("index\tsentence\n0\ta\n1\t\n\n", GlueFormat::sst2).examples.size() == 2);
  CHECK(read("sentence\na\n\nb\n\n\n", GlueFormat::sst2).examples.size() == 3);
  const ExampleFile cola = read("gj04\t1\t\tMary sings.\nbc01\t0\t*\tSings Mary the.\n", GlueFormat::cola);
  REQUIRE(cola.examples.size() == 2);
  CHECK(cola.examples[1].text == "Sings Mary the.");
  CHECK(cola.examples[1].label == 0);
  for (const GlueFormat format : {GlueFormat::cola, GlueFormat::sst2}) {
    const ExampleFile test = read("index\tsentence\n7\tone\n9\ttwo\n", format);
    REQUIRE(test.examples.size() == 2);
    CHECK_FALSE(test.labelled);
    CHECK(test.examples[1].index == "9");
    CHECK(test.examples[1].label == -1);
  }
}

TEST_CASE("GLUE files: an index column may be named idx, and where labels are not wanted sentences alone do") {
  TemporaryFolder folder;
  const auto read = [&](const std::string& content, GlueFormat format, bool may_be_a_list) {
    write_file(folder.path() / "file.tsv", content);
    return read_examples(folder.path() / "file.tsv", format, may_be_a_list);
  };
  for (const GlueFormat format : {GlueFormat::cola, GlueFormat::sst2}) {
    CHECK(read("idx\tsentence\n7\tone\n9\ttwo\n", format, true).examples[1].index == "9");
    CHECK(read("sentence\tlabel\tidx\none\t1\t4\n", format, false).examples[0].index == "4");
    const ExampleFile list = read("one two\n\nthree\n\n", format, true);
    REQUIRE(list.examples.size() == 3);
    CHECK_FALSE(list.labelled);
    CHECK(list.examples[0].text == "one two");
    CHECK(list.examples[1].text == "");
    CHECK(list.examples[2].index == "2");
    CHECK(read("sentence\none\n", format, true).examples.size() == 1);
    CHECK_THROWS_WITH_AS(read("one\ntwo\tthree\n", format, true),
                         doctest::Contains("file.tsv:2: has 2 columns: 1 were expected"), Error);
    CHECK_THROWS_AS(read("one\ntwo\n", format, false), Error);
  }
  CHECK_THROWS_WITH_AS(read("one\ttwo\n", GlueFormat::sst2, true),
                       doctest::Contains("; a list of sentences, one a line, has no tabs"), Error);
  // The lines of other tables would be taken for sentences.
  for (const char* table : {"sentence,label\na film,1\n", "\"idx\",\"sentence\"\n1,\"a film\"\n"})
    CHECK_THROWS_WITH_AS(read(table, GlueFormat::sst2, true),
                         doctest::Contains("file.tsv:1: has commas between the names of its columns"), Error);
  CHECK_THROWS_WITH_AS(read("{\"sentence\": \"a film\"}\n", GlueFormat::cola, true),
                       doctest::Contains("file.tsv:1: is JSON: a file has sentences, one a line"), Error);
  CHECK(read("a sentence, or two\n", GlueFormat::sst2, true).examples.size() == 1);
}

TEST_CASE("GLUE files: an error names the line and what was expected") {
  CHECK(error_of("sentence\tlabel\nfine\t1\nbad\n", GlueFormat::sst2) ==
        ":3: has 1 columns: 2 were expected, with a tab between them");
  CHECK(error_of("a\t1\t\tfine\nb\t1\tno mark\n", GlueFormat::cola) ==
        ":2: has 3 columns: 4 were expected, source, label, mark and sentence (or a header that names others), with a "
        "tab between them");
  CHECK(error_of("sentence\tlabel\nfine\t2\n", GlueFormat::sst2) == ":2: the label is \"2\": it should be 0 or 1");
  CHECK(error_of("fine\t1\n", GlueFormat::sst2).find(":1: is no header") == 0);
  CHECK(error_of("sentence\tlabel\ncaf\xE9\t1\n", GlueFormat::sst2).find(":2: is not UTF-8 at byte 4") == 0);
  CHECK(error_of("sentence\tlabel\n", GlueFormat::sst2) == ": holds no sentence");
  CHECK(error_of(std::string("s\0e\0", 4), GlueFormat::sst2).starts_with(": looks like UTF-16"));
  CHECK(error_of("sentence\tlabel\nfine\t1\n\nfine\t1\n", GlueFormat::sst2).find(":3: is blank: it should have 2") ==
        0);
  CHECK(error_of("\n\n", GlueFormat::cola) == ": holds no sentence");
  const std::string wanted = "the columns are sentence, label (where there are labels) and, if there is one, index";
  for (const GlueFormat format : {GlueFormat::cola, GlueFormat::sst2}) {
    CHECK(error_of("label\tindex\n1\t0\n", format) == ":1: the header names no column sentence: " + wanted);
    CHECK(error_of("text\tlabel\na\t1\n", format) == ":1: the header names a column \"text\": " + wanted);
    CHECK(error_of("label\tsentence\tlabel\n", format) == ":1: the header names the column label twice");
  }
  CHECK(error_of("fine\t1\n", GlueFormat::sst2).ends_with(" the names of its columns: " + wanted.substr(16)));
  CHECK(error_of("a\t\t\tfine\n", GlueFormat::cola)
            .starts_with(":1: the label is \"\": it should be 0 or 1; a file without labels has a header"));
}

}  // namespace engine::test::test_glue_files
