// Compares Unigram tokenizers of SentencePiece models and tokenizer.json files with what transformers makes of them
// (tests/golden/make_unigram.py), as they are and saved, and reads models that are not what they should be.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/random.h"
#include "tasks/language_model.h"
#include "tests/temporary.h"
#include "tests/tokenizer_cases.h"
#include "text/base64.h"
#include "text/rewrites.h"
#include "text/score_numbers.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

namespace engine::test::test_tokenizer_unigram {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

using Ids = std::vector<int32_t>;

const json& golden() {
  static const json file = parse_json_file("tests/data/tokenizer/unigram.json");
  return file;
}

std::string content_of(const json& stored) {
  if (stored.contains("base64")) return *bytes_of_base64(stored["base64"].get<std::string>());
  if (!stored.contains("of")) return stored.dump();
  json file = golden()["bases"][stored["of"].get<std::string>()];
  file.update(stored["edits"]);
  return file.dump();
}

const json& variant_of(const std::string& name) {
  for (const json& variant : golden()["variants"])
    if (variant["name"] == name) return variant;
  FAIL("no variant ", name);
  return golden();
}

void write_variant(const json& variant, const fs::path& folder) {
  for (const auto& [name, stored] : variant["files"].items()) write_file(folder / name, content_of(stored));
}

std::string model_of(const std::string& variant) {
  for (const auto& [name, stored] : variant_of(variant)["files"].items())
    if (name.ends_with(".model")) return content_of(stored);
  FAIL("no model in ", variant);
  return {};
}

// Returns how many ids were compared.
size_t check_variant(const json& variant, const Tokenizer& tokenizer) {
  size_t compared = 0;
  for (size_t i = 0; i < golden()["texts"].size(); ++i) {
    const std::string text = golden()["texts"][i];
    const json& expected = variant["cases"][i];
    CAPTURE(text);
    const Encoding encoding = tokenizer.encode_with_offsets(text);
    CHECK(encoding.ids == expected["ids"].get<Ids>());
    CHECK(flat(encoding.offsets) == expected["offsets"].get<Ids>());
    CHECK(tokenizer.encode(text) == encoding.ids);
    CHECK(tokenizer.encode(text) == encoding.ids);  // words are known from the time before
    CHECK(tokenizer.decode(encoding.ids) == expected["text"].get<std::string>());
    CHECK(tokenizer.decode(encoding.ids, true) == expected["plain"].get<std::string>());
    compared += encoding.ids.size();
    if (!expected.contains("pair")) continue;
    const Framed pair = encode_framed(tokenizer, text, text);
    CHECK(pair.ids == expected["pair"].get<Ids>());
    CHECK(pair.types == expected["types"].get<Ids>());
  }
  return compared;
}

// Returns the error of a folder with these files, without the folder's path.
std::string error_with(const std::vector<std::pair<std::string, std::string>>& files) {
  const TemporaryFolder folder;
  for (const auto& [name, content] : files) write_file(folder.path() / name, content);
  try {
    load_tokenizer(folder.path());
    return "no error";
  } catch (const Error& error) {
    return std::string(error.what()).substr(folder.path().string().size());
  }
}

std::string field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
}

// Reads a model and its table. Returns whether both are sound. Anything but an Error fails the test.
bool is_read(const std::string& bytes) {
  try {
    const SentencePieceModel model = read_sentencepiece(bytes, "model");
    if (!model.charsmap.empty()) Normalizer({make_charsmap(model.charsmap, "model")}).apply("x\u00e9\u0301 \uff21\r\n");
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

TEST_CASE("unigram: ids, offsets, pairs and texts are those of transformers, saved, too") {
  size_t compared = 0, variants = 0;
  for (const json& variant : golden()["variants"]) {
    CAPTURE(variant["name"].get<std::string>());
    const TemporaryFolder folder, saved;
    write_variant(variant, folder.path());
    const auto tokenizer = load_tokenizer(folder.path());
    compared += check_variant(variant, *tokenizer);
    tokenizer->save(saved.path());
    const auto again = load_tokenizer(saved.path());
    check_variant(variant, *again);
    CHECK(again->digest() == tokenizer->digest());
    CHECK(again->vocab_size() == tokenizer->vocab_size());
    CHECK(again->max_length() == tokenizer->max_length());
    CHECK(again->mask_token() == tokenizer->mask_token());
    ++variants;
  }
  CHECK(variants == 16);
  CHECK(compared > 11000);
}

TEST_CASE("unigram: classes give pieces their ids, and their template") {
  const TemporaryFolder folder;
  write_variant(variant_of("XLM-R"), folder.path());
  const auto xlmr = load_tokenizer(folder.path());
  CHECK(xlmr->id_of("<s>") == 0);
  CHECK(xlmr->id_of("<pad>") == 1);
  CHECK(xlmr->id_of("</s>") == 2);
  CHECK(xlmr->id_of("<unk>") == 3);
  CHECK(xlmr->mask_token() == xlmr->vocab_size() - 1);
  CHECK(xlmr->max_length() == 512);
  const TemporaryFolder other;
  write_variant(variant_of("RemBERT"), other.path());
  const auto rembert = load_tokenizer(other.path());
  const Framed pair = encode_framed(*rembert, "the", "cat");
  CHECK(pair.ids.front() == rembert->id_of("[CLS]"));
  CHECK(pair.ids.back() == rembert->id_of("[SEP]"));
  CHECK(pair.types.back() == 1);
}

TEST_CASE("unigram: a text goes on where it may be cut") {
  const TemporaryFolder folder;
  write_variant(variant_of("XLM-R"), folder.path());
  const auto tokenizer = load_tokenizer(folder.path());
  const std::string text = "The first line\nand the second.";
  REQUIRE(tokenizer->may_cut(text, 15));
  Ids pieces = tokenizer->encode(text.substr(0, 15));
  tokenizer->encode_continued(text.substr(15), pieces);
  CHECK(pieces == tokenizer->encode(text));
  const TemporaryFolder other;
  write_variant(variant_of("first alone"), other.path());
  CHECK_FALSE(load_tokenizer(other.path())->may_cut(text, 15));
}

TEST_CASE("unigram: numbers are read as tokenizers reads them, and written so that they are") {
  CHECK(read_score("-2.5") == -2.5);
  CHECK(read_score("1e3") == 1000);
  CHECK(read_score("25E-1") == 2.5);
  CHECK(read_score("0.0") == 0);
  CHECK(read_score("-14.412261962890625") == -14.412261962890623);  // 17 digits are rounded before they are divided
  CHECK(*read_score("123456789012345678901234.0") == doctest::Approx(123456789012345678901234.0).epsilon(1e-15));
  CHECK_FALSE(read_score("1e400").has_value());
  Random random(3, 0);
  int read_exactly = 0;
  for (int i = 0; i < 2000; ++i) {
    const double score = -static_cast<double>(static_cast<float>(i) * 0.01037f + 1.7f);
    const std::string text = write_score(score);
    CHECK(std::abs(*read_score(text) - score) < 1e-14);
    CHECK(write_score(*read_score(text)) == text);
    read_exactly += *read_score(text) == score;
  }
  CHECK(read_exactly > 1900);
  CHECK(vocabulary_decimals(R"({"a": 1.5, "model": {"x": [2.5], "vocab": [["b", -3.25], ["c", 4]]}})") ==
        std::vector<std::string>{"-3.25"});
}

TEST_CASE("unigram: base64") {
  for (const std::string& bytes : {std::string(), std::string("a"), std::string("ab"), std::string("abc\0\xff", 5)})
    CHECK(bytes_of_base64(base64_of(bytes)) == bytes);
  CHECK(base64_of("ab") == "YWI=");
  for (const char* text : {"YWI", "YWJ=", "Y*I=", "Y===", "YW=I"}) CHECK_FALSE(bytes_of_base64(text).has_value());
}

TEST_CASE("unigram: a model that is cut or changed is read or refused, and nothing else") {
  const std::string model = model_of("XLM-R");
  CHECK(is_read(model));
  size_t refused = 0;
  for (size_t size = 0; size < model.size(); size += 1 + size / 97) refused += !is_read(model.substr(0, size));
  CHECK(refused > 200);
  Random random(11, 0);
  refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string changed = model;
    for (int j = 0; j <= i % 4; ++j)
      changed[static_cast<size_t>(random.uniform() * static_cast<double>(model.size()))] =
          static_cast<char>(random.uniform() * 256);
    refused += !is_read(changed);
  }
  CHECK(refused > 50);
}

TEST_CASE("unigram: errors of SentencePiece models name what is wrong") {
  const std::string config = R"({"tokenizer_class": "T5Tokenizer"})", good = model_of("T5");
  const auto error_of = [&](const std::string& model) {
    return error_with({{"spiece.model", model}, {"tokenizer_config.json", config}});
  };
  CHECK(error_of(good) == "no error");
  CHECK(error_of("") == "/spiece.model: no SentencePiece model: it has no pieces");
  CHECK(error_of(good.substr(0, good.size() - 1)).starts_with(
      "/spiece.model: no SentencePiece model: it is cut short"));
  CHECK(error_of("{\"a\": 1}").starts_with("/spiece.model: no SentencePiece model: it has a field"));
  CHECK(error_of(field(1, field(1, ""))).starts_with("/spiece.model: piece 0 should have a text in UTF-8"));
  CHECK(error_of(field(1, field(1, "\xff"))).starts_with("/spiece.model: piece 0 should have a text in UTF-8"));
  CHECK(error_of(field(1, field(1, "a") + "\x18\x09")).starts_with("/spiece.model: piece 0 is of type 9"));
  CHECK(error_of(field(1, field(1, "a") + std::string("\x15\x00\x00\xc0\x7f", 5))).starts_with(
      "/spiece.model: the score of piece 0 is no finite number"));
  CHECK(error_of(field(1, field(1, "a")) + field(2, "\x18\x02")).starts_with(
      "/spiece.model: the model is of type 2 (BPE)"));
  CHECK(error_of(field(1, field(1, "a")) + field(3, std::string("\x18\x00", 2))).starts_with(
      "/spiece.model: the model has no prefix before a text"));
  CHECK(error_of(good + field(1, field(1, "</s>"))).find("\"</s>\"") != std::string::npos);
  CHECK(error_of(good + field(3, field(2, "abc"))).starts_with(
      "/spiece.model: the normalizer's precompiled_charsmap of 3 bytes is not whole"));
  CHECK(error_with({{"spiece.model", good}}).starts_with(
      "/spiece.model: nothing says how this SentencePiece model is read: add \"tokenizer_class\""));
  CHECK(error_with({{"tokenizer.model", good}, {"tokenizer_config.json", config}}).starts_with(
      "/tokenizer.model: the model of a T5Tokenizer should have the name spiece.model"));
  CHECK(error_with({{"sentencepiece.model", model_of("RemBERT")},
                    {"tokenizer_config.json", R"({"tokenizer_class": "RemBertTokenizer"})"}})
            .starts_with("/sentencepiece.model: a RemBertTokenizer with a SentencePiece model needs \"do_lower"));
}

TEST_CASE("unigram: a folder with a SentencePiece model and its class alone is a tokenizer's folder") {
  const TemporaryFolder folder;
  write_file(folder.path() / "sentencepiece.bpe.model", model_of("XLM-R"));
  write_file(folder.path() / "tokenizer_config.json", R"({"tokenizer_class": "XLMRobertaTokenizer"})");
  CHECK(has_tokenizer(folder.path()));
  CHECK(open_tokenizer(folder.path())->encode("Hello world") == load_tokenizer(folder.path())->encode("Hello world"));
}

TEST_CASE("unigram: a post-processor trims the white space that an unknown token stands for") {
  json file = golden()["bases"]["base"];
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}};
  file["post_processor"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  const TemporaryFolder folder;
  write_file(folder.path() / "tokenizer.json", file.dump());
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(folder.path());
  // Ids and offsets of tokenizers 0.23.3.
  Encoding encoding = tokenizer->encode_with_offsets("the\t\u2603 \u2603\u3000");
  CHECK(encoding.ids == Ids{10, 3, 5, 3});
  CHECK(flat(encoding.offsets) == Ids{0, 3, 4, 5, 5, 6, 6, 7});
  encoding = tokenizer->encode_with_offsets("\u3000\u2603 a");
  CHECK(encoding.ids == Ids{5, 3, 31});
  CHECK(flat(encoding.offsets) == Ids{0, 1, 1, 2, 2, 4});
}

TEST_CASE("unigram: a RemBertTokenizer whose class does not do what its normalizer does needs the setting") {
  const auto error_of = [](const char* normalizer, json settings) {
    json file = golden()["bases"]["base"];
    file["normalizer"] = {{"type", normalizer}};
    settings["tokenizer_class"] = "RemBertTokenizer";
    return error_with({{"tokenizer.json", file.dump()}, {"tokenizer_config.json", settings.dump()}});
  };
  const std::string file = "/tokenizer_config.json: a RemBertTokenizer needs ";
  CHECK(error_of("NFC", json::object()) == "no error");
  CHECK(error_of("Lowercase", json::object()).starts_with(file + "\"do_lower_case\": true or false"));
  CHECK(error_of("Lowercase", {{"do_lower_case", false}}) == "no error");
  CHECK(error_of("StripAccents", json::object()).starts_with(file + "\"keep_accents\": true or false"));
  CHECK(error_of("StripAccents", {{"keep_accents", true}}) == "no error");
}

TEST_CASE("unigram: what a tokenizer.json has that is not supported is named") {
  const auto error_of = [](const json& edits) {
    json file = golden()["bases"]["base"];
    file.merge_patch(edits);
    return error_with({{"tokenizer.json", file.dump()}});
  };
  CHECK(error_of(json::object()) == "no error");
  const auto check = [&](const json& edits, const std::string& part) {
    const std::string error = error_of(edits);
    CHECK_MESSAGE(error.find(part) != std::string::npos, "\"", error, "\" does not say \"", part, "\"");
  };
  check({{"normalizer", {{"type", "ByteLevel"}}}}, "the normalizer \"ByteLevel\" is not supported");
  check({{"normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "a*b"}}}, {"content", ""}}}},
        "the regular expression \"a*b\", which is not supported");
  check({{"normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "!"}}}}, "is no base64");
  check({{"pre_tokenizer", {{"type", "Digits"}, {"pretokenizers", nullptr}}}}, "the pre-tokenizer \"Digits\" is not");
  check({{"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}}}, "should be one character");
  check({{"decoder", {{"type", "CTC"}}}}, "the decoder \"CTC\" is not supported for Unigram");
  check({{"model", {{"vocab", {{"a", 1.0}, {"b"}}}}}}, "entry 1 of the vocabulary is [\"b\"], it should be");
  check({{"model", {{"vocab", json::array({json::array({"a", 1.0}), json::array({"a", 2.0})})}, {"unk_id", 0}}},
         {"added_tokens", json::array()}, {"post_processor", nullptr}},
        "the token \"a\" stands in the vocabulary twice");
  check({{"model", {{"unk_id", 5000}}}}, "unk_id");
}

}  // namespace engine::test::test_tokenizer_unigram
