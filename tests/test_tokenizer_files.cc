// Character tokenizers, folders of tokenizers, and files that are not what they should be.
#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "tests/temporary.h"
#include "text/tokenizer.h"

namespace engine::test::test_tokenizer_files {

namespace {

using Ids = std::vector<int32_t>;

// A byte-level BPE of nine tokens.
const char small_vocab[] =
    R"({"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "<s>": 5, "</s>": 6, "<pad>": 7, "aab": 8})";
const char small_merges[] = "#version: 0.2\na b\nĠ ab\na ab\n";
const char small_json[] = R"({"added_tokens": [{"id": 3, "content": "<x>", "special": true}], "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "post_processor": null,
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";

std::string error_of(const std::filesystem::path& folder) {
  try {
    load_tokenizer(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Returns the error of a folder that holds these files.
std::string error_with(const std::vector<std::pair<std::string, std::string>>& files) {
  const TemporaryFolder folder;
  for (const auto& [name, content] : files) write_file(folder.path() / name, content);
  const std::string error = error_of(folder.path());
  const bool names_folder = error == "no error" || error.starts_with(folder.path().string());
  return names_folder ? error.substr(std::min(error.size(), folder.path().string().size())) : "no path: " + error;
}

void check_error(const std::string& error, const std::string& part) {
  CHECK_MESSAGE(error.find(part) != std::string::npos, "\"", error, "\" does not say \"", part, "\"");
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t place = text.find(from);
  REQUIRE(place != std::string::npos);
  return text.replace(place, from.size(), to);
}

void check_same(const Tokenizer& a, const Tokenizer& b, const std::string& text) {
  const Encoding expected = a.encode_with_offsets(text), actual = b.encode_with_offsets(text);
  CHECK(!expected.ids.empty());
  CHECK(actual.ids == expected.ids);
  CHECK(actual.offsets == expected.offsets);
  CHECK(b.decode(actual.ids) == a.decode(expected.ids));
  CHECK(b.vocab_size() == a.vocab_size());
  CHECK(b.end_token() == a.end_token());
  CHECK(b.begin_token() == a.begin_token());
  CHECK(b.pad_token() == a.pad_token());
  for (int32_t id = 0; id < a.vocab_size(); ++id) CHECK(b.token(id) == a.token(id));
}

}  // namespace

TEST_CASE("tokenizer files: model_max_length is read and saved, a huge one is none") {
  const auto length_with = [](const std::string& config) {
    const TemporaryFolder folder, saved;
    write_file(folder.path() / "tokenizer.json", small_json);
    write_file(folder.path() / "tokenizer_config.json", config);
    const auto tokenizer = load_tokenizer(folder.path());
    tokenizer->save(saved.path());
    CHECK(load_tokenizer(saved.path())->max_length() == tokenizer->max_length());
    return tokenizer->max_length();
  };
  CHECK(length_with("{}") == 0);
  CHECK(length_with(R"({"model_max_length": 512})") == 512);
  CHECK(length_with(R"({"model_max_length": 512, "tokenizer_class": "GPT2Tokenizer"})") == 512);
  CHECK(length_with(R"({"model_max_length": 1000000000000000019884624838656})") == 0);
  CHECK(length_with(R"({"model_max_length": 1e30})") == 0);
  for (const char* config : {R"({"model_max_length": 0})", R"({"model_max_length": "512"})"})
    CHECK_THROWS_WITH_AS(length_with(config), doctest::Contains("tokenizer_config.json: \"model_max_length\""), Error);
}

TEST_CASE("tokenizer characters: arithmetic") {
  const auto tokenizer = make_arithmetic_tokenizer();
  CHECK(tokenizer->vocab_size() == 20);
  CHECK(tokenizer->encode("((1 + 2 = 3) * 9)\n") == Ids{17, 17, 5, 14, 6, 19, 7, 18, 16, 13, 18});
  CHECK(tokenizer->encode("<start>4-0<eos> <pad><bos>") == Ids{3, 8, 15, 4, 1, 0, 2});
  CHECK(tokenizer->pad_token() == 0);
  CHECK(tokenizer->end_token() == 1);
  CHECK(tokenizer->begin_token() == 2);
  CHECK(tokenizer->id_of("<start>") == 3);
  CHECK(tokenizer->decode(Ids{3, 8, 15, 4, 1}) == "<start>4-0<eos>");
  CHECK(tokenizer->decode(Ids{3, 8, 15, 4, 1}, true) == "4-0");
  const Encoding encoding = tokenizer->encode_with_offsets(" 1\u00a0+<eos>");
  CHECK(encoding.offsets == std::vector<std::pair<int32_t, int32_t>>{{1, 2}, {3, 4}, {4, 9}});
  CHECK_THROWS_WITH_AS(tokenizer->encode("1 + 2\n= \u00e93"),
                       "the character \"\u00e9\" (U+00E9) in line 2, column 3 is not in the tokenizer's vocabulary",
                       Error);
  CHECK_THROWS_WITH_AS(tokenizer->encode(std::string_view("\0", 1)),
                       doctest::Contains("U+0000 in column 1"), Error);
  CHECK_THROWS_AS(tokenizer->encode("1\xff"), Error);
  CHECK(tokenizer->decode(Ids{4, 20}) == "0");  // an id beyond the vocabulary has no text
  CHECK_THROWS_AS(tokenizer->decode(Ids{-1}), Error);
}

TEST_CASE("tokenizer characters: those of a text") {
  const std::string text = "be\u00e9\U0001f600\n\"\\\t a";
  const auto tokenizer = make_character_tokenizer({text, "ab"});
  CHECK(tokenizer->vocab_size() == 11);
  CHECK(tokenizer->end_token() == 0);
  CHECK(tokenizer->token(0) == "<|endoftext|>");
  CHECK(tokenizer->token(1) == "\t");
  CHECK(tokenizer->encode("a\u00e9<|endoftext|>\U0001f600") == Ids{6, 9, 0, 10});
  CHECK(tokenizer->decode(tokenizer->encode(text)) == text);
  CHECK(tokenizer->encode("").empty());
  CHECK_THROWS_WITH_AS(tokenizer->encode("ab c"), doctest::Contains("\"c\" (U+0063) in column 4"), Error);
  CHECK_THROWS_AS(make_character_tokenizer({"a\xc3"}), Error);
}

TEST_CASE("tokenizer files: what is saved loads as the same") {
  const TemporaryFolder folder;
  make_arithmetic_tokenizer()->save(folder.path());
  check_same(*make_arithmetic_tokenizer(), *load_tokenizer(folder.path()), "<bos> (1 + 2 = 3)\n<eos>");
  const std::string text = "\x01 \"\\/\u00e9\U0001f600\n<|endoftext|>x";
  const auto characters = make_character_tokenizer({text});
  characters->save(folder.path());
  check_same(*characters, *load_tokenizer(folder.path()), text);
  load_tokenizer(folder.path())->save(folder.path());
  check_same(*characters, *load_tokenizer(folder.path()), text);
}

TEST_CASE("tokenizer files: vocab.json and merges.txt, with RoBERTa's special tokens") {
  const TemporaryFolder folder, saved;
  write_file(folder.path() / "vocab.json", small_vocab);
  write_file(folder.path() / "merges.txt", small_merges);
  const auto tokenizer = load_tokenizer(folder.path());
  const Encoding encoding = tokenizer->encode_with_offsets("<s>aab ab</s>");
  CHECK(encoding.ids == Ids{5, 8, 4, 6});
  CHECK(encoding.offsets == std::vector<std::pair<int32_t, int32_t>>{{0, 3}, {3, 6}, {7, 9}, {9, 13}});
  CHECK(tokenizer->begin_token() == 5);
  CHECK(tokenizer->end_token() == 6);
  CHECK(tokenizer->pad_token() == 7);
  CHECK(tokenizer->decode(encoding.ids, true) == "aab ab");
  CHECK_THROWS_WITH_AS(tokenizer->encode("abc"), doctest::Contains("no token for the byte 99"), Error);
  tokenizer->save(saved.path());
  check_same(*tokenizer, *load_tokenizer(saved.path()), "<s>aab  ab ab</s>");
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"})
    CHECK(std::filesystem::exists(saved.path() / file));
  std::filesystem::remove(saved.path() / "tokenizer.json");
  check_same(*tokenizer, *load_tokenizer(saved.path()), "<s>aab  ab ab</s>");
}

TEST_CASE("tokenizer files: special tokens as the files beside the vocabulary name them") {
  const TemporaryFolder folder;
  write_file(folder.path() / "vocab.json", R"({"a": 0, "b": 1, "ab": 2, "STOP": 3})");
  write_file(folder.path() / "merges.txt", "a b\n");
  CHECK(load_tokenizer(folder.path())->end_token() == -1);
  write_file(folder.path() / "special_tokens_map.json", R"({"eos_token": {"content": "STOP"}, "pad_token": "PAD"})");
  write_file(folder.path() / "added_tokens.json", R"({"PAD": 4})");
  const auto tokenizer = load_tokenizer(folder.path());
  CHECK(tokenizer->end_token() == 3);
  CHECK(tokenizer->pad_token() == 4);
  CHECK(tokenizer->encode("abSTOPPADa") == Ids{2, 3, 4, 0});
  write_file(folder.path() / "tokenizer_config.json",
             R"({"eos_token": "PAD", "added_tokens_decoder": {"4": {"content": "PAD", "special": true}}})");
  CHECK(load_tokenizer(folder.path())->end_token() == 4);
}

TEST_CASE("tokenizer files: each fault has a message that names the file and what is wrong") {
  check_error(error_with({}), "tokenizer.json, or vocab.json and merges.txt, or vocab.txt, or a SentencePiece model");
  const auto bpe = [](const std::string& vocab, const std::string& merges) {
    return error_with({{"vocab.json", vocab}, {"merges.txt", merges}});
  };
  CHECK(bpe(small_vocab, small_merges) == "");
  check_error(bpe("", ""), "/vocab.json: not valid JSON");
  check_error(bpe("[]", ""), "/vocab.json: the vocabulary should be a JSON object");
  check_error(bpe("{}", ""), "/vocab.json: the vocabulary is empty");
  check_error(bpe(R"({"a": 0, "b": 0})", ""), "have the same id, 0");
  check_error(bpe(R"({"a": 0, "b": 2000})", ""),
              "one of the 2 tokens has the id 2000, so most ids would have no token");
  check_error(bpe(R"({"a": 0, "a": 1})", ""), "stands twice");
  check_error(bpe(R"({"a": 0, "b": -1})", ""), "should have an id from 0");
  check_error(bpe(R"({"a": 0, "b": 99999999999999999999})", ""), "should have an id from 0");
  check_error(bpe(R"({"a": 0, "b": "1"})", ""), "should have an id from 0");
  check_error(bpe(small_vocab, "#version: 0.2\na b\nb b\n"), "/merges.txt: line 3 names \"bb\", which is not in");
  check_error(bpe(small_vocab, "a z"), "line 1 names \"z\"");
  for (const char* line : {"ab", "a  b", " a b", "a b ", "a b c"})
    check_error(bpe(small_vocab, line), "line 1 should be two tokens");

  const auto json = [](const std::string& from, const std::string& to) {
    return error_with({{"tokenizer.json", replaced(small_json, from, to)}});
  };
  CHECK(json("a b", "a b") == "");
  check_error(json("\"BPE\"", "\"Other\""), "/tokenizer.json: a model of type \"Other\" is not supported");
  check_error(json("\"BPE\"", "\"Unigram\""), "/tokenizer.json: the vocabulary should be a list of [token, score]");
  check_error(json("\"BPE\"", "3"), "\"type\" is 3, it should be a string");
  check_error(json("\"model\"", "\"x\""), "\"model\" is missing");
  check_error(json("\"vocab\"", "\"x\""), "\"vocab\" is missing");
  check_error(json("\"merges\"", "\"x\""), "\"merges\" is missing");
  check_error(json("[\"a b\"]", "{}"), "\"merges\" should be a list");
  check_error(json("\"a b\"", "[\"a\"]"), "merge 1 should be a string");
  check_error(json("\"a b\"", "[\"a\", \"x\"]"), "merge 1 names \"x\"");
  check_error(json("\"ByteLevel\"", "\"Whitespace\""), "\"Whitespace\" is not supported");
  check_error(json("\"normalizer\": null", "\"normalizer\": {\"type\": \"Strip\"}"),
              "the normalizer \"Strip\" is not supported");
  check_error(json("\"type\": \"BPE\"", "\"type\": \"BPE\", \"byte_fallback\": true"), "\"byte_fallback\" is set");
  check_error(json("\"BPE\"", "\"WordLevel\""), "splits the text into characters");
  check_error(error_with({{"tokenizer.json", small_json}, {"tokenizer_config.json", R"({"eos_token": 3})"}}),
              "/tokenizer_config.json: \"eos_token\" is 3, it should be a string");
}

TEST_CASE("tokenizer files: a damaged tokenizer.json is refused or works, and never crashes") {
  const TemporaryFolder folder;
  make_arithmetic_tokenizer()->save(folder.path());
  const std::string sources[] = {small_json, read_text(folder.path() / "tokenizer.json")};
  std::filesystem::remove(folder.path() / "tokenizer_config.json");
  Random random(15, 0);
  int loaded = 0;
  for (int round = 0; round < 600; ++round) {
    std::string text = sources[round % 2];
    const auto place = [&] { return random.below(static_cast<uint32_t>(text.size())); };
    for (uint32_t changes = 1 + random.below(4); changes > 0; --changes) {
      const char parts[] = "{}[]\",:01-9atfn\\e";
      switch (random.below(5)) {
        case 0: text[place()] = static_cast<char>(random.below(256)); break;
        case 1: text[place()] = parts[random.below(sizeof parts - 1)]; break;
        case 2: text.erase(place(), 1 + random.below(20)); break;
        case 3: text.insert(place(), text.substr(place(), 1 + random.below(30))); break;
        default: if (random.below(8) == 0) text.resize(place() + 1);
      }
    }
    std::ofstream(folder.path() / "tokenizer.json", std::ios::binary) << text;
    try {
      const auto tokenizer = load_tokenizer(folder.path());
      ++loaded;
      tokenizer->decode(tokenizer->encode("ab<x>a1"));
    } catch (const Error&) {
    }
  }
  CHECK(loaded > 10);
  CHECK(loaded < 500);
}

}  // namespace engine::test::test_tokenizer_files
