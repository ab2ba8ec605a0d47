#include "text/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

namespace engine {

using nlohmann::json;
using nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

constexpr const char* standard_names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

// One object holds the settings of all files, with the keys in the order of the files. New tokens get their ids in that
// order.
struct Settings {
  ordered_json all = ordered_json::object();
  std::map<std::string, std::string> files;  // each key's file
  const std::string& file(const std::string& key) const { return files.at(key); }
};

bool is_standard(const std::string& key) {
  return std::find(std::begin(standard_names), std::end(standard_names), key) != std::end(standard_names);
}

bool is_empty(const ordered_json& value) {
  return value.is_null() || value == "" || ((value.is_array() || value.is_object()) && value.empty());
}

bool names_token(const std::string& key) { return key.ends_with("_token") && !is_standard(key); }

int64_t parse_id(const std::string& text, const std::string& where) {
  int32_t id = -1;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc() || stop != end || id < 0)
    fail(where, ": \"", text.substr(0, 60), "\" among the added tokens is no id");
  return id;
}

// Copies the members of an object, in their order, over those that are there.
void merge(const json& object, const std::string& text, const std::string& where, Settings& settings) {
  if (!object.is_object()) fail(where, ": should be a JSON object");
  const ordered_json ordered = ordered_json::parse(text);
  for (const auto& [key, value] : ordered.items()) {
    settings.all[key] = value;
    settings.files[key] = where;
  }
}

json merge_file(const fs::path& file, Settings& settings) {
  if (!fs::exists(file)) return nullptr;
  const std::string text = read_text(file);
  json object = parse_json(text, file.string());
  merge(object, text, file.string(), settings);
  return object;
}

// Refuses keys that transformers would obey in a way that is not done here.
void refuse_keys(const Settings& settings) {
  const auto refuse = [&](const char* key, const char* why) {
    if (settings.all.contains(key)) fail(settings.file(key), ": \"", key, "\" is set, which is not supported: ", why);
  };
  constexpr const char* from_files =
      "the vocabulary is read from tokenizer.json, vocab.json and merges.txt, or vocab.txt";
  for (const char* key : {"vocab", "merges", "tokenizer_object", "gguf_file"}) refuse(key, from_files);
  for (const char* key : {"post_processor", "tokenizer_truncation", "tokenizer_padding", "_json_truncation",
                          "_json_padding"})
    refuse(key, "it belongs into tokenizer.json");
  if (settings.all.contains("auto_map") && (!settings.all["auto_map"].is_object() ||
                                            settings.all["auto_map"].contains("AutoTokenizer")))
    refuse("auto_map", "Python code of a folder is not run");
  if (settings.all.contains("init_inputs") && !is_empty(settings.all["init_inputs"]))
    refuse("init_inputs", "the tokenizer's settings are named");
  if (settings.all.contains("fast_tokenizer_files") &&
      settings.all["fast_tokenizer_files"] != ordered_json::array({"tokenizer.json"}))
    refuse("fast_tokenizer_files", "tokenizer.json is read");
}

// Reads a string, or an object that says of itself that it is a token.
GivenToken read_given(const ordered_json& value, const std::string& key, const std::string& where) {
  if (value.is_string()) return {.token = {.content = value.get<std::string>()}};
  const bool is_token = value.is_object() && value.contains("__type") && value["__type"] == "AddedToken";
  if (!is_token)
    fail(where, ": \"", key, "\" is ", value.dump(-1, ' ', true).substr(0, 60),
         ", it should be a string or an object with \"__type\": \"AddedToken\"");
  return {.token = read_added_token(json(value), where), .is_text = false};
}

// additional_special_tokens is the older name of extra_special_tokens.
void rename_extra(Settings& settings, bool replaces_empty) {
  if (!settings.all.contains("additional_special_tokens")) return;
  const bool has_extra = settings.all.contains("extra_special_tokens");
  if (has_extra && !(replaces_empty && is_empty(settings.all["extra_special_tokens"]))) return;
  settings.all["extra_special_tokens"] = settings.all["additional_special_tokens"];
  settings.files["extra_special_tokens"] = settings.file("additional_special_tokens");
  settings.all.erase("additional_special_tokens");
}

// Collects names that only some models have: keys that end with _token, and an object among the extra tokens. These
// take the place of model_specific_special_tokens.
void collect_model_names(Settings& settings) {
  ordered_json collected = ordered_json::object();
  for (const auto& [key, value] : settings.all.items())
    if (names_token(key) && value.is_string()) collected[key] = value;
  if (settings.all.contains("extra_special_tokens") && settings.all["extra_special_tokens"].is_object()) {
    for (const auto& [key, value] : settings.all["extra_special_tokens"].items()) collected[key] = value;
    settings.all.erase("extra_special_tokens");
  }
  if (collected.empty()) return;
  for (const auto& [key, value] : collected.items()) settings.all.erase(key);
  settings.all["model_specific_special_tokens"] = collected;
  settings.files.emplace("model_specific_special_tokens", settings.files.begin()->second);
}

// Merges special_tokens_map.json, which counts only if tokenizer_config.json has no added_tokens_decoder.
void merge_map(const fs::path& file, Settings& settings) {
  Settings map;
  merge_file(file, map);
  for (auto& [key, value] : map.all.items()) {
    if (value.is_object() && key != "extra_special_tokens") {
      value["special"] = true;
      value["__type"] = "AddedToken";
    } else if (key == "extra_special_tokens" && value.is_array()) {
      ordered_json joined = settings.all.value(key, ordered_json::array());
      if (!joined.is_array()) joined = ordered_json::array();
      for (ordered_json& token : value) {
        if (token.is_object()) token["special"] = true, token["__type"] = "AddedToken";
        if (std::find(joined.begin(), joined.end(), token) == joined.end()) joined.push_back(token);
      }
      value = joined;
    }
    settings.all[key] = value;
    settings.files[key] = file.string();
  }
  if (map.all.contains("extra_special_tokens") && settings.all["extra_special_tokens"].is_object()) {
    for (const auto& [key, value] : settings.all["extra_special_tokens"].items())
      settings.all["model_specific_special_tokens"][key] = value;
    settings.files.emplace("model_specific_special_tokens", file.string());
    settings.all.erase("extra_special_tokens");
  }
}

// Reads added_tokens.json, an object of token: id. Tokens that have a name are special.
void read_added_file(const fs::path& file, const Settings& settings, std::map<int64_t, AddedToken>& added) {
  if (!fs::exists(file)) return;
  std::set<std::string> special;
  // An object in tokenizer_config.json is no token yet when transformers compares these.
  const auto take = [&](const ordered_json& token, const std::string& key) {
    if (token.is_string()) special.insert(token.get<std::string>());
    else if (token.is_object() && settings.file(key).ends_with("special_tokens_map.json"))
      special.insert(token.value("content", ""));
  };
  for (const char* key : standard_names)
    if (settings.all.contains(key)) take(settings.all[key], key);
  if (settings.all.contains("extra_special_tokens"))
    for (const ordered_json& token : settings.all["extra_special_tokens"]) take(token, "extra_special_tokens");
  const json ids = parse_json_file(file);
  if (!ids.is_object()) fail(file.string(), ": should be an object of token: id");
  for (const auto& [content, id] : ids.items()) {
    const bool is_special = special.contains(content);
    added[read_token_id(content, id, file.string())] = {.content = content, .special = is_special,
                                                        .normalized = !is_special};
  }
}

std::map<int64_t, AddedToken> read_decoder(const json& decoder, const std::string& where) {
  if (!decoder.is_object()) fail(where, ": \"added_tokens_decoder\" should be an object of id: token");
  std::map<int64_t, AddedToken> added;
  for (const auto& [id, token] : decoder.items()) added[parse_id(id, where)] = read_added_token(token, where);
  return added;
}

// Returns the special tokens that a class has if no file names them.
std::vector<std::pair<const char*, const char*>> usual_names(TokenizerClass kind) {
  switch (kind) {
    case TokenizerClass::bert:
    case TokenizerClass::distilbert:
      return {{"unk_token", "[UNK]"}, {"sep_token", "[SEP]"}, {"pad_token", "[PAD]"}, {"cls_token", "[CLS]"},
              {"mask_token", "[MASK]"}};
    case TokenizerClass::gpt_neox:
      return {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"},
              {"pad_token", "<|padding|>"}};
    case TokenizerClass::gpt2:
      return {{"bos_token", "<|endoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}};
    case TokenizerClass::roberta:
    case TokenizerClass::xlm_roberta:
      return {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"sep_token", "</s>"},
              {"pad_token", "<pad>"}, {"cls_token", "<s>"}, {"mask_token", "<mask>"}};
    case TokenizerClass::albert:
    case TokenizerClass::rembert:
      return {{"bos_token", "[CLS]"}, {"eos_token", "[SEP]"}, {"unk_token", "<unk>"}, {"sep_token", "[SEP]"},
              {"pad_token", "<pad>"}, {"cls_token", "[CLS]"}, {"mask_token", "[MASK]"}};
    case TokenizerClass::t5: return {{"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}};
    default: return {};
  }
}

// Returns the special tokens without a name that a class has if no file lists any: those of a SentencePiece model, and
// T5's for gaps.
std::vector<GivenToken> usual_extra(const TokenizerConfig& config, const std::vector<AddedToken>& pieces) {
  std::vector<GivenToken> extra;
  bool has_gaps = false;
  for (const AddedToken& piece : pieces) {
    extra.push_back({.token = piece, .is_text = false});
    has_gaps = has_gaps || piece.content.find("<extra_id_") != std::string::npos;
  }
  if (config.of.kind == TokenizerClass::t5 && !has_gaps)
    for (int64_t i = 0; i < config.extra_ids; ++i)
      extra.push_back({.token = {.content = "<extra_id_" + std::to_string(i) + ">"}});
  return extra;
}

void read_names(const Settings& settings, const json* tokenizer_json, const std::string& where,
                TokenizerConfig& config) {
  auto usual = usual_names(config.of.kind);
  std::string padding;
  const json* const pads = tokenizer_json ? json_find(*tokenizer_json, "padding", where) : nullptr;
  if (config.of.kind == TokenizerClass::whole_file && pads) padding = json_string(*pads, "pad_token", where, "");
  if (!padding.empty()) usual.emplace_back("pad_token", padding.c_str());
  for (const char* key : standard_names) {
    const auto own = std::find_if(usual.begin(), usual.end(),
                                  [&](const auto& one) { return one.first == std::string_view(key); });
    if (!settings.all.contains(key)) {
      if (own == usual.end()) continue;
      config.names.emplace_back(key, GivenToken{.token = {.content = own->second}});
      config.usual_names.insert(key);
    } else if (!settings.all[key].is_null()) {
      config.names.emplace_back(key, read_given(settings.all[key], key, settings.file(key)));
    }
  }
}

void read_more_names(const Settings& settings, TokenizerConfig& config) {
  for (const auto& [key, value] : settings.all.items())
    if (names_token(key) && (value.is_string() || (value.is_object() && value.contains("__type"))))
      config.model_names.emplace_back(key, read_given(value, key, settings.file(key)));
  const auto found = [&](const char* key) -> const ordered_json* {
    const auto place = settings.all.find(key);
    return place == settings.all.end() || place->is_null() ? nullptr : &*place;
  };
  if (const ordered_json* own = found("model_specific_special_tokens")) {
    const std::string& file = settings.file("model_specific_special_tokens");
    if (!own->is_object()) fail(file, ": \"model_specific_special_tokens\" should be an object of name: token");
    for (const auto& [key, value] : own->items()) {
      const auto known = std::find_if(config.model_names.begin(), config.model_names.end(),
                                      [&, &key = key](const auto& name) { return name.first == key; });
      if (known == config.model_names.end()) config.model_names.emplace_back(key, read_given(value, key, file));
      else known->second = read_given(value, key, file);
    }
  }
  if (const ordered_json* extra = found("extra_special_tokens")) {
    const std::string& file = settings.file("extra_special_tokens");
    if (!extra->is_array()) fail(file, ": \"extra_special_tokens\" should be a list or an object of name: token");
    for (const ordered_json& token : *extra) config.extra.push_back(read_given(token, "extra_special_tokens", file));
  }
}

}  // namespace

const AddedToken* TokenizerConfig::named(const std::string& key) const {
  for (const auto& [name, given] : names)
    if (name == key) return &given.token;
  return nullptr;
}

int64_t read_token_id(const std::string& token, const json& id, const std::string& where) {
  const bool is_id = id.is_number_integer() && id.get<double>() >= 0 && id.get<double>() <= INT32_MAX;
  if (!is_id)
    fail(where, ": the token ", json(token).dump(-1, ' ', true).substr(0, 60), " should have an id from 0 to ",
         INT32_MAX);
  return id.get<int64_t>();
}

AddedToken read_added_token(const json& token, const std::string& where) {
  const bool special = json_bool(token, "special", where, false);
  return {.content = json_string(token, "content", where),
          .special = special,
          .single_word = json_bool(token, "single_word", where, false),
          .strip_left = json_bool(token, "lstrip", where, false),
          .strip_right = json_bool(token, "rstrip", where, false),
          .normalized = json_bool(token, "normalized", where, !special),
          .follows_special = !json_has(token, "normalized", where)};
}

std::vector<AddedToken> read_added_tokens(const json& root, const std::string& where) {
  std::vector<AddedToken> tokens;
  const json* list = json_find(root, "added_tokens", where);
  if (!list) return tokens;
  if (!list->is_array()) fail(where, ": \"added_tokens\" should be a list");
  for (const json& token : *list) {
    tokens.push_back(read_added_token(token, where));
    tokens.back().id = static_cast<int32_t>(json_integer(token, "id", where, 0, INT32_MAX));
  }
  return tokens;
}

TokenizerConfig read_tokenizer_config(const fs::path& folder, const json* tokenizer_json, TokenizerClass otherwise,
                                      const std::vector<AddedToken>& pieces) {
  Settings settings;
  const std::string json_file = (folder / "tokenizer.json").string();
  const json own = merge_file(folder / "tokenizer_config.json", settings);
  const fs::path model_file = folder / "config.json";
  TokenizerConfig config;
  config.of = class_of_folder(own, fs::exists(model_file) ? parse_json_file(model_file) : json(), folder.string());
  config.is_guessed = !tokenizer_json && config.of.kind == TokenizerClass::whole_file;
  if (config.is_guessed) config.of.kind = otherwise;
  refuse_keys(settings);
  rename_extra(settings, true);
  collect_model_names(settings);
  if (const auto decoder = settings.all.find("added_tokens_decoder"); decoder != settings.all.end()) {
    config.added = read_decoder(own["added_tokens_decoder"], settings.file("added_tokens_decoder"));
  } else {
    merge_map(folder / "special_tokens_map.json", settings);
    read_added_file(folder / "added_tokens.json", settings, config.added);
    if (tokenizer_json)
      for (const AddedToken& token : read_added_tokens(*tokenizer_json, json_file)) config.added[token.id] = token;
  }
  rename_extra(settings, false);
  read_names(settings, tokenizer_json, json_file, config);
  read_more_names(settings, config);
  read_class_settings(settings.all, folder, config);
  if (!settings.all.contains("extra_special_tokens")) config.extra = usual_extra(config, pieces);
  read_traits(settings.all, tokenizer_json, folder, config);
  return config;
}

std::vector<AddedToken> tokens_to_add(const TokenizerConfig& config, const std::vector<AddedToken>& known) {
  std::set<std::string> contents;
  for (const AddedToken& token : known) contents.insert(token.content);
  std::vector<GivenToken> given;
  for (const auto& [id, token] : config.added) given.push_back({.token = token, .is_text = false});
  for (GivenToken& one : given) {
    one.token.id = -1;
    contents.insert(one.token.content);
  }
  std::set<std::string> named;
  std::map<std::string, std::vector<size_t>> places;  // of those that follow, by their contents
  const auto add = [&](const GivenToken& token) {
    std::vector<size_t>& others = places[token.token.content];
    const auto same = [&](size_t place) {
      GivenToken one = given[place];
      one.token.follows_special = token.token.follows_special;  // no flag of its own
      return one == token;
    };
    if (contents.contains(token.token.content) || std::any_of(others.begin(), others.end(), same)) return;
    others.push_back(given.size());
    given.push_back(token);
  };
  for (const NamedTokens* names : {&config.names, &config.model_names})
    for (const auto& [key, token] : *names) {
      add(token);
      named.insert(token.token.content);
    }
  for (const GivenToken& token : config.extra) add(token);

  std::vector<AddedToken> tokens;
  for (GivenToken& one : given) {
    one.token.special = one.token.special || named.contains(one.token.content);
    if (one.token.follows_special) one.token.normalized = !one.token.special;
    tokens.push_back(std::move(one.token));
  }
  return tokens;
}

}  // namespace engine
