// Compares folders of tokenizers with every setting that transformers reads with what AutoTokenizer makes of them
// (tests/golden/make_tokenizer_folders.py), as they are and saved.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "tests/temporary.h"
#include "tests/tokenizer_cases.h"
#include "text/tokenizer.h"

namespace engine::test::test_tokenizer_folders {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

using Ids = std::vector<int32_t>;

const json& golden() {
  static const json folders = parse_json_file("tests/data/tokenizer/folders.json");
  return folders;
}

// Returns the texts of the folder's kind: "bpe files" is a "bpe".
const json& texts_of(const json& folder) {
  const std::string base = folder["base"];
  return golden()["texts"][base.substr(0, base.find(' '))];
}

void write_folder(const json& folder, const fs::path& path) {
  json files = golden()["bases"][folder["base"].get<std::string>()];
  files.update(folder["files"]);
  if (files.contains("tokenizer.json")) files["tokenizer.json"].update(folder["edits"]);
  for (const auto& [name, content] : files.items())
    write_file(path / name, content.is_string() ? content.get<std::string>() : content.dump());
}

// Returns how many ids were compared.
size_t check_folder(const json& folder, const Tokenizer& tokenizer) {
  size_t compared = 0;
  const json& texts = texts_of(folder);
  REQUIRE(texts.size() == folder["lines"].size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i];
    CAPTURE(text);
    const json& expected = golden()["encodings"][folder["lines"][i].get<size_t>()];
    const Encoding encoding = tokenizer.encode_with_offsets(text);
    CHECK(encoding.ids == expected["ids"].get<Ids>());
    CHECK(flat(encoding.offsets) == expected["offsets"].get<Ids>());
    CHECK(tokenizer.encode(text) == encoding.ids);
    const Ids framed = encode_framed(tokenizer, text).ids;
    CHECK(framed == expected["framed"].get<Ids>());
    const Framed pair = encode_framed(tokenizer, text, text);
    CHECK(pair.ids == expected["pair"].get<Ids>());
    CHECK(pair.types == expected["types"].get<Ids>());
    const Limit limit{.max_length = tokenizer.framing().special_tokens(/*is_pair=*/true) + 3};
    CHECK(encode_framed(tokenizer, text, text, limit).ids == expected["cut"].get<Ids>());
    CHECK(tokenizer.decode(framed) == expected["text"].get<std::string>());
    CHECK(tokenizer.decode(framed, true) == expected["plain"].get<std::string>());
    compared += pair.ids.size();
  }
  return compared;
}

// Returns the error of a BERT folder with this tokenizer_config.json, without the folder's path.
std::string error_with(const json& config) {
  const TemporaryFolder folder;
  write_folder({{"base", "bert"}, {"files", {{"tokenizer_config.json", config}}}, {"edits", json::object()}},
               folder.path());
  try {
    load_tokenizer(folder.path());
    return "no error";
  } catch (const Error& error) {
    return std::string(error.what()).substr(folder.path().string().size());
  }
}

}  // namespace

TEST_CASE("tokenizer folders: ids, offsets, token types, truncation and text are those of transformers, saved, too") {
  size_t loaded = 0, refused = 0, compared = 0;
  for (const json& folder : golden()["folders"]) {
    CAPTURE(folder.dump());
    const TemporaryFolder path, saved;
    write_folder(folder, path.path());
    if (folder.contains("refused")) {
      CHECK_THROWS_AS(load_tokenizer(path.path()), Error);
      ++refused;
      continue;
    }
    const auto tokenizer = load_tokenizer(path.path());
    compared += check_folder(folder, *tokenizer);
    tokenizer->save(saved.path());
    const auto again = load_tokenizer(saved.path());
    check_folder(folder, *again);
    CHECK(again->vocab_size() == tokenizer->vocab_size());
    CHECK(again->max_length() == tokenizer->max_length());
    CHECK(again->digest() == tokenizer->digest());
    ++loaded;
  }
  CHECK(loaded > 300);
  CHECK(refused > 5);
  CHECK(compared > 40000);
}

TEST_CASE("tokenizer folders: every key that transformers reads is obeyed, named in an error, or changes nothing") {
  // The folders above have values of these keys, so that a key that is passed over shows there.
  std::set<std::string> obeyed;
  for (const json& folder : golden()["folders"]) {
    const json config = json::parse(folder["files"].value("tokenizer_config.json", "{}"));
    for (const auto& [key, value] : config.items()) obeyed.insert(key);
  }
  const std::set<std::string> refused = {"_json_padding",     "_json_truncation", "fast_tokenizer_files", "gguf_file",
                                         "merges",            "post_processor",   "tokenizer_object",
                                         "tokenizer_padding", "tokenizer_truncation", "vocab"};
  for (const std::string& key : refused)
    CHECK(error_with({{key, "x"}}).starts_with("/tokenizer_config.json: \"" + key));
  CHECK(error_with({{"auto_map", {{"AutoTokenizer", {"a.B", nullptr}}}}}).starts_with(
      "/tokenizer_config.json: \"auto_map\""));
  CHECK(error_with({{"init_inputs", {1}}}).starts_with("/tokenizer_config.json: \"init_inputs\""));
  // These are arguments of from_pretrained, of calls, of training and of saving, or they are about files, templates of
  // chats, padding, messages, and tokenizers of other kinds.
  const std::set<std::string> without_effect = {
      "_commit_hash", "_from_auto", "_from_pipeline", "cache_dir", "code_revision", "config", "force_download",
      "local_files_only", "mistral_format", "proxies", "revision", "subfolder", "token", "tokenizer_type",
      "trust_remote_code", "use_fast", "add_generation_prompt", "sanitize_control_tokens", "use_source_tokenizer",
      "max_target_length", "padding", "truncation", "continuing_subword_prefix", "end_of_word_suffix",
      "initial_alphabet", "tokenizer", "commit_message", "repo_id", "save_jinja_files", "backend", "files_loaded",
      "is_local", "merges_file", "name_or_path", "tokenizer_file", "vocab_file", "device_map", "slow_tokenizer_class",
      "chat_control_tokens", "chat_template", "response_schema", "response_template", "processor_class",
      "max_length", "pad_to_multiple_of", "pad_token_type_id", "stride", "truncation_strategy", "errors", "verbose",
      "_spm_precompiled_charsmap", "fix_mistral_regex", "legacy", "unk_id"};
  size_t keys = 0;
  for (const json& key : golden()["keys"]) {
    CAPTURE(key);
    CHECK(obeyed.contains(key) + refused.contains(key) + without_effect.contains(key) == 1);
    ++keys;
  }
  CHECK(keys > 80);
  // Keys without effect are saved as they were.
  const TemporaryFolder folder, saved;
  write_folder({{"base", "bert"}, {"files", {{"tokenizer_config.json", {{"chat_template", "{{x}}"}, {"verbose", 1}}}}},
                {"edits", json::object()}}, folder.path());
  load_tokenizer(folder.path())->save(saved.path());
  const json config = parse_json_file(saved.path() / "tokenizer_config.json");
  CHECK(config["chat_template"] == "{{x}}");
  CHECK(config["verbose"] == 1);
}

TEST_CASE("tokenizer folders: a class that is not read here is named, as is a class for another model") {
  for (const char* name : {"CamembertTokenizer", "LlamaTokenizerFast", "MPNetTokenizer", "ConvBertTokenizer"})
    CHECK(error_with({{"tokenizer_class", name}}).starts_with("/tokenizer_config.json: \"tokenizer_class\" is \""));
  CHECK(error_with({{"tokenizer_class", "GPT2Tokenizer"}}).starts_with(
      "/tokenizer.json: the model is of type \"WordPiece\", and the folder's other files name a GPT2Tokenizer, which"));
  CHECK(error_with({{"tokenizer_class", "XLMRobertaTokenizerFast"}}).find("which takes Unigram") != std::string::npos);
  CHECK(error_with({{"tokenizer_class", "BertTokenizer"}, {"cls_token", nullptr}}) ==
        "/tokenizer_config.json: \"cls_token\" is null, and a BertTokenizer needs such a token");
  CHECK(error_with({{"pad_token", 3}}).starts_with(
      "/tokenizer_config.json: \"pad_token\" is 3, it should be a string or"));
  CHECK(error_with({{"extra_special_tokens", 3}}).starts_with(
      "/tokenizer_config.json: \"extra_special_tokens\" should be a list or an object"));
  CHECK(error_with({{"added_tokens_decoder", {{"x", {{"content", "a"}}}}}}).starts_with(
      "/tokenizer_config.json: \"x\" among the added tokens is no id"));
  CHECK(error_with({{"tokenizer_class", "BertTokenizer"}, {"unk_token", "<none>"}}).starts_with(
      "/tokenizer.json: a WordPiece vocabulary should hold the token for unknown words (unk_token, \"<none>\")"));
}

TEST_CASE("tokenizer folders: windows over a long text, from its beginning or from its end") {
  size_t windows = 0;
  for (const json& expected : golden()["windows"]) {
    CAPTURE(expected.dump());
    const TemporaryFolder path;
    write_folder(expected, path.path());
    const auto found =
        encode_windows(*load_tokenizer(path.path()), expected["first"].get<std::string>(),
                       expected["second"].get<std::string>(), expected["max_length"], expected["stride"]);
    std::vector<Ids> ids;
    for (const Framed& window : found) ids.push_back(window.ids);
    CHECK(ids == expected["ids"].get<std::vector<Ids>>());
    windows += ids.size();
  }
  CHECK(windows > 20);
}

TEST_CASE("tokenizer folders: a vocab.txt with gaps; an added token that would get a taken id is named") {
  const TemporaryFolder folder, saved;
  write_file(folder.path() / "config.json", R"({"model_type": "bert"})");
  write_file(folder.path() / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\na\nc\n");
  const auto tokenizer = load_tokenizer(folder.path());
  CHECK(tokenizer->vocab_size() == 9);
  CHECK(tokenizer->encode("a b c") == Ids{7, 6, 8});
  CHECK(tokenizer->token(5).empty());
  CHECK(tokenizer->decode(Ids{7, 5, 8, 9, 100}) == "a c");  // neither a gap nor an id beyond the vocabulary has a text
  CHECK_THROWS_AS(tokenizer->decode(Ids{-1}), Error);
  tokenizer->save(saved.path());
  CHECK_FALSE(fs::exists(saved.path() / "vocab.txt"));  // lines cannot say where the gap is
  CHECK(load_tokenizer(saved.path())->encode("a b c") == Ids{7, 6, 8});
  write_file(folder.path() / "added_tokens.json", R"({"<x>": 9})");
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains(
      "vocab.txt: the added token \"<x>\" would get the id 8, which another token has"), Error);
  write_file(folder.path() / "vocab.txt", "\xEF\xBB\xBF[PAD]\n");
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains("vocab.txt:1: begins with a byte order mark"),
                       Error);
  write_file(folder.path() / "vocab.txt", "[PAD]\n\xff\n");
  CHECK_THROWS_WITH_AS(load_tokenizer(folder.path()), doctest::Contains("vocab.txt:2: the token is not UTF-8"), Error);
}

}  // namespace engine::test::test_tokenizer_folders
