#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "text/characters.h"
#include "text/special_names.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace engine {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::vector<std::pair<std::string, int64_t>> read_vocab(const json& vocab, const std::string& where) {
  if (!vocab.is_object()) fail(where, ": the vocabulary should be a JSON object of token: id");
  std::vector<std::pair<std::string, int64_t>> tokens;
  tokens.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) tokens.emplace_back(token, read_token_id(token, id, where));
  return tokens;
}

// line(text without its end, number from 1)
template <class Line>
void for_each_line(std::string_view text, const Line& line) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t length = std::min(text.find('\n'), text.size());
    std::string_view one = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (one.ends_with('\r')) one.remove_suffix(1);
    line(one, number);
  }
}

// "left right" as a merge of ids; `place` tells where it stands.
BpeMerges::Merge read_merge(const Vocabulary& vocabulary, std::string_view left, std::string_view right,
                            const std::string& place) {
  const auto id = [&](const std::string& token) {
    const int32_t found = vocabulary.find(token);
    if (found < 0) fail(place, " names \"", token.substr(0, 60), "\", which is not in the vocabulary");
    return found;
  };
  return {id(std::string(left)), id(std::string(right)), id(std::string(left).append(right))};
}

BpeMerges::Merge read_merge(const Vocabulary& vocabulary, std::string_view text, const std::string& place) {
  const size_t space = text.find(' ');
  if (space == 0 || space >= text.size() - 1 || text.find(' ', space + 1) != std::string_view::npos)
    fail(place, " should be two tokens with one space between them");
  return read_merge(vocabulary, text.substr(0, space), text.substr(space + 1), place);
}

BpeMerges read_merges_txt(const Vocabulary& vocabulary, const fs::path& file) {
  const std::string content = read_text(file);
  std::vector<BpeMerges::Merge> merges;
  for_each_line(content, [&](std::string_view line, size_t number) {
    if (line.empty() || line.starts_with("#version")) return;
    merges.push_back(read_merge(vocabulary, line, detail::joined(file.string(), ": line ", number)));
  });
  return BpeMerges(std::move(merges));
}

BpeMerges read_merge_list(const Vocabulary& vocabulary, const json& list, const std::string& where) {
  if (!list.is_array()) fail(where, ": \"merges\" should be a list");
  std::vector<BpeMerges::Merge> merges;
  merges.reserve(list.size());
  for (const json& merge : list) {
    const std::string place = detail::joined(where, ": merge ", merges.size() + 1);
    if (merge.is_string()) {
      merges.push_back(read_merge(vocabulary, merge.get_ref<const std::string&>(), place));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.push_back(read_merge(vocabulary, merge[0].get_ref<const std::string&>(),
                                  merge[1].get_ref<const std::string&>(), place));
    } else {
      fail(place, " should be a string \"left right\" or a pair of strings");
    }
  }
  return BpeMerges(std::move(merges));
}

// ---- tokenizer.json ----

std::vector<AddedToken> read_added_tokens(const json& root, const std::string& where) {
  std::vector<AddedToken> tokens;
  const json* list = json_find(root, "added_tokens", where);
  if (!list) return tokens;
  if (!list->is_array()) fail(where, ": \"added_tokens\" should be a list");
  for (const json& token : *list) {
    const auto id = static_cast<int32_t>(json_integer(token, "id", where, 0, INT32_MAX));
    tokens.push_back(read_added_token(token, id, where));
  }
  return tokens;
}

bool is_split(const json& pre_tokenizer, const char* pattern, const char* behavior, const std::string& where) {
  if (json_string(pre_tokenizer, "type", where, "") != "Split" || json_bool(pre_tokenizer, "invert", where, false))
    return false;
  const json& how = json_member(pre_tokenizer, "pattern", where);
  return how.is_object() && json_string(how, "Regex", where, "") == pattern &&
         json_string(pre_tokenizer, "behavior", where) == behavior;
}

void require_no(const json& object, const char* key, const std::string& where) {
  const json* value = json_find(object, key, where);
  const bool is_off = !value || *value == false || *value == "" || *value == 0;
  if (!is_off)
    fail(where, ": \"", key, "\" is set, which is not supported: byte-level BPE as GPT-2's, WordPiece as BERT's, or ",
         "characters, are");
}

Normalizer normalizer_of(const json& root, const std::string& where) {
  const json* normalizer = json_find(root, "normalizer", where);
  return normalizer ? Normalizer::read(*normalizer, where) : Normalizer();
}

std::unique_ptr<Tokenizer> load_byte_bpe(const json& root, Vocabulary vocabulary, TokenizerFiles files,
                                         const std::string& where) {
  const json& model = json_member(root, "model", where);
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk"})
    require_no(model, key, where);
  const json& pre_tokenizer = json_member(root, "pre_tokenizer", where);
  const std::string type = json_string(pre_tokenizer, "type", where);
  if (type != "ByteLevel" || !json_bool(pre_tokenizer, "use_regex", where, true))
    fail(where, ": a BPE vocabulary with the pre-tokenizer \"", type.substr(0, 60),
         "\" is not supported: it should be ByteLevel, with use_regex");
  ByteBpeSettings settings{.add_prefix_space = json_bool(pre_tokenizer, "add_prefix_space", where, true),
                           .whole_words = json_bool(model, "ignore_merges", where, false)};
  if (const json* post = json_find(root, "post_processor", where)) {
    const std::string kind = json_string(*post, "type", where);
    settings.trim_offsets =
        (kind == "ByteLevel" || kind == "RobertaProcessing") && json_bool(*post, "trim_offsets", where, true);
  }
  BpeMerges merges = read_merge_list(vocabulary, json_member(model, "merges", where), where);
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), std::move(merges), settings, std::move(files),
                                            normalizer_of(root, where));
}

std::unique_ptr<Tokenizer> load_wordpiece(const json& root, Vocabulary vocabulary, TokenizerFiles files,
                                          const std::string& where) {
  const json& model = json_member(root, "model", where);
  const std::string splits = json_string(json_member(root, "pre_tokenizer", where), "type", where);
  if (splits != "BertPreTokenizer")
    fail(where, ": a WordPiece vocabulary with the pre-tokenizer \"", splits.substr(0, 60),
         "\" is not supported: it should be BertPreTokenizer");
  WordPieceSettings settings{.prefix = json_string(model, "continuing_subword_prefix", where, "##"),
                             .longest_word = json_integer(model, "max_input_chars_per_word", where, 1, INT32_MAX, 100)};
  if (const json* decoder = json_find(root, "decoder", where))
    settings.cleanup = json_bool(*decoder, "cleanup", where, true);
  return std::make_unique<WordPieceTokenizer>(std::move(vocabulary), normalizer_of(root, where), std::move(settings),
                                              std::move(files));
}

std::unique_ptr<Tokenizer> load_characters(const json& root, Vocabulary vocabulary, TokenizerFiles files,
                                           const std::string& where) {
  const json& pre_tokenizer = json_member(root, "pre_tokenizer", where);
  const json* steps = json_find(pre_tokenizer, "pretokenizers", where);
  const bool skips_space = steps && steps->is_array() && steps->size() == 2 &&
                           is_split((*steps)[0], space_pattern, "Removed", where) &&
                           is_split((*steps)[1], any_character_pattern, "Isolated", where);
  if (!skips_space && !is_split(pre_tokenizer, any_character_pattern, "Isolated", where))
    fail(where, ": a WordLevel vocabulary is read only if its pre-tokenizer splits the text into characters: Split, ",
         any_character_pattern, ", Isolated");
  return std::make_unique<CharacterTokenizer>(std::move(vocabulary), skips_space, std::move(files));
}

TokenizerFiles kept_files(const fs::path& folder, std::initializer_list<const char*> names) {
  TokenizerFiles files;
  for (const char* name : names)
    if (fs::exists(folder / name)) files[name] = read_text(folder / name);
  return files;
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_json(const fs::path& folder) {
  const fs::path file = folder / "tokenizer.json";
  const std::string where = file.string();
  const json root = parse_json_file(file);
  const json& model = json_member(root, "model", where);
  const std::string type = json_string(model, "type", where, json_has(model, "merges", where) ? "BPE" : "WordLevel");
  const std::map<std::string, decltype(&load_byte_bpe)> loaders = {
      {"BPE", load_byte_bpe}, {"WordPiece", load_wordpiece}, {"WordLevel", load_characters}};
  const auto load = loaders.find(type);
  if (load == loaders.end())
    fail(where, ": a model of type \"", type.substr(0, 60), "\" is not supported; BPE, WordPiece and WordLevel are");
  if (type == "WordLevel") require_no(root, "normalizer", where);
  Vocabulary vocabulary(read_vocab(json_member(model, "vocab", where), where), read_added_tokens(root, where), where);
  vocabulary.unknown = vocabulary.find(json_string(model, "unk_token", where, ""));
  SpecialNames names = read_special_names(folder);
  names.set_in(vocabulary, where);
  TokenizerFiles files = kept_files(folder, {"tokenizer.json"});
  if (names.has_class) files.merge(kept_files(folder, {"tokenizer_config.json"}));
  if (const json* post = json_find(root, "post_processor", where)) vocabulary.framing = read_framing(*post, where);
  for (const auto* pieces : {&vocabulary.framing.single, &vocabulary.framing.pair})
    for (const Framing::Piece& piece : *pieces)
      if (piece.token >= vocabulary.size())
        fail(where, ": the post-processor adds the token ", piece.token, " of ", vocabulary.size());
  return load->second(root, std::move(vocabulary), std::move(files), where);
}

std::unique_ptr<Tokenizer> load_vocab_and_merges(const fs::path& folder) {
  const fs::path file = folder / "vocab.json";
  const SpecialNames names = read_special_names(folder);
  Vocabulary vocabulary(read_vocab(parse_json_file(file), file.string()), names.added, file.string());
  // RoBERTa's and BART's vocabularies hold <s> and </s>, and their tokenizers trim offsets; GPT-2's do not.
  const bool is_roberta = vocabulary.find("<s>") >= 0 && vocabulary.find("</s>") >= 0;
  if (is_roberta)
    for (const char* token : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
      if (vocabulary.find(token) >= 0) vocabulary.add_special(token);
  names.add_to(vocabulary, file.string());
  if (!is_roberta && vocabulary.find("<|endoftext|>") >= 0) vocabulary.add_special("<|endoftext|>");
  names.set_in(vocabulary, file.string());
  if (is_roberta) vocabulary.framing = Framing::roberta(vocabulary.classifier, vocabulary.separator);
  BpeMerges merges = read_merges_txt(vocabulary, folder / "merges.txt");
  const ByteBpeSettings settings{.add_prefix_space = names.add_prefix_space, .trim_offsets = is_roberta};
  return std::make_unique<ByteBpeTokenizer>(std::move(vocabulary), std::move(merges), settings, TokenizerFiles{});
}

std::unique_ptr<Tokenizer> load_vocab_txt(const fs::path& folder) {
  const std::string where = (folder / "vocab.txt").string();
  const std::string content = read_text(where);
  std::vector<std::pair<std::string, int64_t>> tokens;
  for_each_line(text_of_file(content, where), [&](std::string_view line, size_t number) {
    if (find_invalid_utf8(line) < line.size()) fail(where, ":", number, ": the token is not UTF-8");
    tokens.emplace_back(line, number - 1);
  });
  SpecialNames names = read_special_names(folder);
  Vocabulary vocabulary(tokens, names.added, where);
  for (const auto& [key, token] : {std::pair{"unk_token", "[UNK]"}, {"cls_token", "[CLS]"}, {"sep_token", "[SEP]"}})
    names.names.emplace(key, token);
  for (const auto& [key, token] : {std::pair{"pad_token", "[PAD]"}, {"mask_token", "[MASK]"}})
    if (vocabulary.find(token) >= 0) names.names.emplace(key, token);
  names.add_to(vocabulary, where);
  names.set_in(vocabulary, where);
  vocabulary.unknown = vocabulary.find(names.names["unk_token"]);
  vocabulary.framing = Framing::bert(vocabulary.classifier, vocabulary.separator);

  const fs::path config_file = folder / "tokenizer_config.json";
  const json config = fs::exists(config_file) ? parse_json_file(config_file) : json::object();
  const bool lowers = json_bool(config, "do_lower_case", config_file.string(), true);
  Normalizer normalizer =
      Normalizer::bert(true, json_bool(config, "tokenize_chinese_chars", config_file.string(), true),
                       json_bool(config, "strip_accents", config_file.string(), lowers), lowers);
  return std::make_unique<WordPieceTokenizer>(
      std::move(vocabulary), std::move(normalizer), WordPieceSettings{},
      names.has_class ? kept_files(folder, {"tokenizer_config.json"}) : TokenizerFiles{});
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& folder) {
  if (fs::exists(folder / "tokenizer.json")) return load_tokenizer_json(folder);
  if (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt")) return load_vocab_and_merges(folder);
  if (fs::exists(folder / "vocab.txt")) return load_vocab_txt(folder);
  fail(folder.string(),
       ": no tokenizer there: tokenizer.json, or vocab.json and merges.txt, or vocab.txt, were looked for");
}

}  // namespace engine
