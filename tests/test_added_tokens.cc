// Added tokens that take the white space beside them, in tokenizers of every kind.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/json.h"
#include "tests/temporary.h"
#include "tests/tokenizer_cases.h"
#include "text/tokenizer.h"

namespace engine::test::test_added_tokens {

using nlohmann::json;
using Ids = std::vector<int32_t>;

namespace {

json tokenizer_json(const std::string& base) {
  if (base == "unigram") return parse_json_file("tests/data/tokenizer/unigram.json")["bases"]["base"];
  return parse_json_file("tests/data/tokenizer/folders.json")["bases"][base]["tokenizer.json"];
}

json added(int32_t id, const std::string& content, bool normalized, bool strip_left, bool strip_right) {
  return {{"id", id},           {"content", content},      {"normalized", normalized}, {"single_word", false},
          {"special", false},   {"lstrip", strip_left},    {"rstrip", strip_right}};
}

}  // namespace

TEST_CASE("added tokens: white space that one takes behind it may be another one, as in the library tokenizers") {
  const std::string text = "a<q>   b<q>  <q> \t <r>";
  const struct {
    const char* base;
    int32_t first_id;
    bool normalized;
    Ids ids, offsets;  // of tokenizers 0.23.3
  } cases[] = {
      {"bert", 34, false, {15, 34, 35, 16, 34, 35, 34, 36}, {0, 1, 1, 7, 4, 6, 7, 8, 8, 13, 11, 13, 13, 19, 19, 22}},
      {"bert", 34, true, {15, 34, 35, 16, 34, 35, 34, 35, 36},
       {0, 1, 1, 7, 4, 6, 7, 8, 8, 13, 11, 13, 13, 19, 16, 18, 18, 22}},
      {"bpe", 260, false, {64, 260, 261, 220, 65, 260, 261, 260, 262},
       {0, 1, 1, 7, 4, 6, 6, 7, 7, 8, 8, 13, 11, 13, 13, 19, 19, 22}},
      {"bpe", 260, true, {64, 260, 261, 220, 65, 260, 261, 260, 262},
       {0, 1, 1, 7, 4, 6, 6, 7, 7, 8, 8, 13, 11, 13, 13, 19, 19, 22}},
      {"characters", 6, false, {1, 6, 7, 3, 2, 6, 7, 6, 8},
       {0, 1, 1, 7, 4, 6, 6, 7, 7, 8, 8, 13, 11, 13, 13, 19, 19, 22}},
      {"unigram", 242, false, {31, 242, 243, 5, 38, 242, 243, 242, 244},
       {0, 1, 1, 7, 4, 6, 7, 8, 7, 8, 8, 13, 11, 13, 13, 19, 19, 22}},
      {"unigram", 242, true, {31, 242, 243, 5, 38, 242, 243, 242, 243, 244},
       {0, 1, 1, 7, 4, 6, 7, 8, 7, 8, 8, 13, 11, 13, 13, 19, 16, 18, 18, 22}}};
  for (const auto& [base, first_id, normalized, ids, offsets] : cases) {
    CAPTURE(base);
    CAPTURE(normalized);
    json file = tokenizer_json(base);
    file["added_tokens"].push_back(added(first_id, "<q>", normalized, false, true));
    file["added_tokens"].push_back(added(first_id + 1, "  ", normalized, false, false));
    file["added_tokens"].push_back(added(first_id + 2, "<r>", normalized, true, false));
    const TemporaryFolder folder;
    write_file(folder.path() / "tokenizer.json", file.dump());
    const auto tokenizer = load_tokenizer(folder.path());
    const Encoding encoding = tokenizer->encode_with_offsets(text);
    CHECK(encoding.ids == ids);
    CHECK(flat(encoding.offsets) == offsets);
    CHECK(tokenizer->encode(text) == ids);
  }
}

TEST_CASE("added tokens: a post-processor trims the white space that one took in normalized text") {
  json file = tokenizer_json("unigram");
  file["added_tokens"].push_back(added(242, "<r>", true, true, true));
  file["post_processor"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  const TemporaryFolder folder;
  write_file(folder.path() / "tokenizer.json", file.dump());
  const Encoding encoding = load_tokenizer(folder.path())->encode_with_offsets("\u3000<r>  <r>");
  CHECK(encoding.ids == Ids{242, 242});
  CHECK(flat(encoding.offsets) == Ids{1, 4, 6, 9});
}

}  // namespace engine::test::test_added_tokens
