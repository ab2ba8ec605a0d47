// WordPiece against ids, offsets, pairs and windows of the reference implementation
// (tests/golden/make_wordpiece_cases.py).
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/random.h"
#include "tests/temporary.h"
#include "tests/tokenizer_cases.h"
#include "text/character_kinds.h"
#include "text/normalizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace engine::test::test_tokenizer_wordpiece {

namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

const Tokenizer& bert() {
  static const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer("tests/data/bert");
  return *tokenizer;
}

const json& cases() {
  static const json all = parse_json_file("tests/data/tokenizer/wordpiece_cases.json");
  return all;
}

// Makes a folder with a vocab.txt of a few words and these settings.
std::unique_ptr<Tokenizer> small(const std::string& words, const std::string& config = "{}") {
  const TemporaryFolder folder;
  std::string lines;
  for (const char character : "[PAD] [UNK] [CLS] [SEP] [MASK] " + words) lines += character == ' ' ? '\n' : character;
  write_file(folder.path() / "vocab.txt", lines + "\n");
  write_file(folder.path() / "tokenizer_config.json", config);
  return load_tokenizer(folder.path());
}

}  // namespace

TEST_CASE("tokenizer wordpiece: ids and offsets, with each normalizer, as the reference gives them") {
  check_variants(bert(), cases()["variants"], 1000, 500);
}

TEST_CASE("tokenizer wordpiece: every character is normalized and split as the reference does") {
  using Step = Normalizer::Step;
  const Normalizer steps[] = {Normalizer::bert(true, true, true, true),
                              Normalizer::bert(true, true, false, false),
                              Normalizer({Step::strip_marks}),
                              Normalizer({Step::lowercase}),
                              Normalizer({Step::compose}),
                              Normalizer({Step::compose_compat}),
                              Normalizer({Step::decompose})};
  size_t compared = 0;
  for (const json& expected : cases()["blocks"]) {
    const char32_t first = expected["block"].get<char32_t>() << 12;
    std::string text;
    std::vector<PlacedCharacter> characters;
    for (char32_t character = first; character < first + 4096; ++character) {
      if (character >= 0xd800 && character < 0xe000) continue;
      for (const Normalizer& step : steps) {
        characters.assign(1, {character, 0, 1});
        step.apply(characters);
        text += utf8_of(characters) + '\0';
      }
      const uint8_t kinds = kinds_of(character);
      text += kinds & CharacterKind::punctuation ? '3' : kinds & CharacterKind::space ? '2' : '1';
    }
    CAPTURE(first);
    CHECK(hexadecimal(hash_of(text)) == expected["hash"].get<std::string>());
    ++compared;
  }
  CHECK(compared == 36);
}

TEST_CASE("tokenizer wordpiece: pairs, truncation and windows as the reference makes them") {
  size_t windows = 0, refused = 0;
  for (const json& expected : cases()["pairs"]) {
    const std::string first = expected["first"], second = expected["second"].is_null() ? "" : expected["second"];
    const bool is_pair = !expected["second"].is_null();
    const std::string truncation = expected["truncation"];
    const size_t length = expected["max_length"], stride = expected["stride"];
    CAPTURE(first);
    CAPTURE(second);
    CAPTURE(truncation);
    CAPTURE(length);
    const auto made = [&]() -> std::vector<Framed> {
      if (is_pair && truncation == "only_second") return encode_windows(bert(), first, second, length, stride);
      const Limit limit{.max_length = length == 0 ? SIZE_MAX : length,
                        .truncation = truncation == "only_first"    ? Truncation::only_first
                                      : truncation == "only_second" ? Truncation::only_second
                                                                    : Truncation::longest_first};
      return {is_pair ? encode_framed(bert(), first, second, limit) : encode_framed(bert(), first, limit)};
    };
    if (expected["windows"].is_null()) {
      CHECK_THROWS_AS(made(), Error);
      ++refused;
      continue;
    }
    const std::vector<Framed> actual = made();
    REQUIRE(actual.size() == expected["windows"].size());
    for (size_t i = 0; i < actual.size(); ++i) {
      const json& window = expected["windows"][i];
      CHECK(actual[i].ids == window["ids"].get<Ids>());
      CHECK(actual[i].types == window["types"].get<Ids>());
      CHECK(Ids(actual[i].texts.begin(), actual[i].texts.end()) == window["texts"].get<Ids>());
      CHECK(flat(actual[i].offsets) == window["offsets"].get<Ids>());
    }
    windows += actual.size();
  }
  CHECK(windows > 100);
  CHECK(refused > 2);
}

TEST_CASE("tokenizer wordpiece: decoding as the reference does") {
  for (const json& expected : cases()["decoded"]) {
    CHECK(bert().decode(expected["ids"].get<Ids>()) == expected["all"].get<std::string>());
    CHECK(bert().decode(expected["ids"].get<Ids>(), true) == expected["text"].get<std::string>());
  }
  CHECK(bert().decode(Ids{30522}).empty());
}

TEST_CASE("tokenizer wordpiece: the vocabulary is as named") {
  CHECK(bert().vocab_size() == 30522);
  CHECK(bert().pad_token() == 0);
  CHECK(bert().mask_token() == 103);
  CHECK(bert().end_token() == -1);
  CHECK(bert().is_special(101));
  CHECK_FALSE(bert().is_special(1012));
  CHECK(bert().token(2075) == "##ing");
}

TEST_CASE("tokenizer wordpiece: what is saved is complete, and each file of it is enough") {
  const std::string text = "Caf\u00e9 [MASK] unaffable\u4e16\u754c";
  for (const char* config : {"{}", R"({"do_lower_case": false})", R"({"strip_accents": false})",
                             R"({"tokenize_chinese_chars": false, "tokenizer_class": "BertTokenizer"})"}) {
    CAPTURE(config);
    const auto tokenizer =
        small("cafe caf\u00e9 Caf\u00e9 \u4e16 \u754c un ##aff ##able ##\u4e16 ##\u4e16\u754c", config);
    const TemporaryFolder saved;
    tokenizer->save(saved.path());
    const Encoding expected = tokenizer->encode_with_offsets(text);
    for (const char* removed : {"", "vocab.txt", "tokenizer.json"}) {
      if (*removed) fs::remove(saved.path() / removed);
      const auto again = load_tokenizer(saved.path());
      CHECK(again->encode_with_offsets(text).ids == expected.ids);
      CHECK(again->encode_with_offsets(text).offsets == expected.offsets);
      CHECK(again->mask_token() == 4);
      CHECK(encode_framed(*again, "cafe", "un").ids == encode_framed(*tokenizer, "cafe", "un").ids);
      again->save(saved.path());
    }
  }
  CHECK(small("Caf\u00e9 cafe", R"({"do_lower_case": false})")->encode("Caf\u00e9 cafe") == Ids{5, 6});
  CHECK(small("caf\u00e9 cafe", R"({"strip_accents": false})")->encode("Caf\u00e9") == Ids{5});
  CHECK(small("\u4e16\u754c", R"({"tokenize_chinese_chars": false})")->encode("\u4e16\u754c") == Ids{5});
}

TEST_CASE("tokenizer wordpiece: special tokens with other names") {
  const TemporaryFolder folder;
  write_file(folder.path() / "vocab.txt", "<unk>\r\n<s>\r\n</s>\r\n<blank>\r\na\r\n");
  write_file(folder.path() / "special_tokens_map.json",
             R"({"unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<blank>"})");
  const auto tokenizer = load_tokenizer(folder.path());
  CHECK(encode_framed(*tokenizer, "a b <blank>").ids == Ids{1, 4, 0, 3, 2});
  CHECK(tokenizer->mask_token() == 3);
  CHECK(tokenizer->pad_token() == -1);
}

TEST_CASE("tokenizer wordpiece: framing as post-processors of other kinds say") {
  const TemporaryFolder folder;
  small("a b")->save(folder.path());
  const json plain = parse_json_file(folder.path() / "tokenizer.json");
  const auto with = [&](const json& processor) {
    json edited = plain;
    edited["post_processor"] = processor;
    write_file(folder.path() / "tokenizer.json", edited.dump());
    return load_tokenizer(folder.path());
  };
  const json pair = {{"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}};
  json of_bert = pair, of_roberta = pair;
  of_bert["type"] = "BertProcessing", of_roberta["type"] = "RobertaProcessing";
  Framed framed = encode_framed(*with(of_bert), "a", "b");
  CHECK(framed.ids == Ids{2, 5, 3, 6, 3});
  CHECK(framed.types == Ids{0, 0, 0, 1, 1});
  framed = encode_framed(*with(of_roberta), "a", "b");
  CHECK(framed.ids == Ids{2, 5, 3, 3, 6, 3});
  CHECK(framed.types == Ids{0, 0, 0, 0, 0, 0});
  framed = encode_framed(*with({{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, of_bert}}}), "a");
  CHECK(framed.ids == Ids{2, 5, 3});
  CHECK_THROWS_WITH_AS(with({{"type", "Sequence"}, {"processors", {of_bert, of_roberta}}}),
                       doctest::Contains("BertProcessing and RobertaProcessing both put tokens around a text"), Error);
  CHECK(encode_framed(*with(nullptr), "a", "b").types == Ids{0, 1});
  CHECK_THROWS_WITH_AS(with({{"type", "Other"}}), doctest::Contains("post-processor \"Other\""), Error);
  of_bert["sep"] = {"[SEP]", 7};
  CHECK_THROWS_WITH_AS(with(of_bert), doctest::Contains("the token 7 of 7"), Error);
}

TEST_CASE("tokenizer wordpiece: what cannot be framed is an error") {
  CHECK_THROWS_WITH_AS(encode_framed(bert(), "a", {.max_length = 1}), doctest::Contains("no room for the 2 special"),
                       Error);
  CHECK_THROWS_WITH_AS(encode_framed(bert(), "a b c", {.max_length = 4, .truncation = Truncation::none}),
                       doctest::Contains("3 tokens do not fit into 2"), Error);
  CHECK_THROWS_WITH_AS(encode_windows(bert(), "a b c", "d e f g", 8, 2), doctest::Contains("leave no place"), Error);
}

TEST_CASE("tokenizer wordpiece: files that are not what they should be") {
  const TemporaryFolder folder;
  write_file(folder.path() / "vocab.txt", "a\nb\n");
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains("vocab.txt: no file names a "), Error);
  write_file(folder.path() / "vocab.txt", "[PAD]\ncaf\xE9\n");
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains("vocab.txt:2: the token is not UTF-8"), Error);
  write_file(folder.path() / "vocab.txt", std::string("[\0P\0", 4));
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains("vocab.txt: looks like UTF-16"), Error);
  write_file(folder.path() / "vocab.txt", "");
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains("vocab.txt: the vocabulary is empty"), Error);
  bert().save(folder.path());
  const std::string text = read_text(folder.path() / "tokenizer.json");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string edited = text;
    edited.replace(edited.find(from), from.size(), to);
    write_file(folder.path() / "tokenizer.json", edited);
    return load_tokenizer(folder.path());
  };
  CHECK_THROWS_WITH_AS(with("BertPreTokenizer", "Metaspace"), doctest::Contains("should be BertPreTokenizer"), Error);
  CHECK_THROWS_WITH_AS(with("BertNormalizer", "Replace"), doctest::Contains("normalizer \"Replace\""), Error);
  CHECK_THROWS_WITH_AS(with("\"unk_token\": \"[UNK]\"", "\"unk_token\": \"[X]\""),
                       doctest::Contains("should hold the token for unknown words (unk_token, \"[X]\")"), Error);
}

TEST_CASE("tokenizer wordpiece: bad UTF-8 is refused with its place, any text encodes, pieces as the whole") {
  for (const char* bad : {"ab\xc0\xaf", "ab\xed\xa0\x80", "ab\xe2\x82", "ab\xff"})
    CHECK_THROWS_WITH_AS(bert().encode(bad), doctest::Contains("at byte 2"), Error);
  Random random(13, 0);
  for (int round = 0; round < 1000; ++round) {
    std::string bytes(random.below(30), ' ');
    for (char& byte : bytes) byte = static_cast<char>(random.below(256));
    if (find_invalid_utf8(bytes) == bytes.size()) CHECK(bert().encode(bytes) == bert().encode_with_offsets(bytes).ids);
    else CHECK_THROWS_AS(bert().encode(bytes), Error);
  }
  const std::string text = read_text("tests/data/tokenizer/wikipedia.txt");
  Ids whole = bert().encode(text), pieces;
  const size_t cut = text.find('\n', text.size() / 2) + 1;
  REQUIRE(bert().may_cut(text, cut));
  bert().encode(std::string_view(text).substr(0, cut), pieces);
  bert().encode_continued(std::string_view(text).substr(cut), pieces);
  CHECK(pieces == whole);
}

TEST_CASE("tokenizer wordpiece: a long text without a space does not take quadratic time") {
  for (const std::string unit : {"a", "\u00e9", "\u4e2d", "\u0130", "\u0301", "\x01", "!", "[MASK"}) {
    std::string text;
    while (text.size() < 250000) text += unit;
    CHECK(bert().encode(text) == bert().encode_with_offsets(text).ids);
  }
}

}  // namespace engine::test::test_tokenizer_wordpiece
