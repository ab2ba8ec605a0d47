#include "text/special_names.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/json.h"

namespace engine {

using nlohmann::json;

namespace {

constexpr const char* name_keys[] = {"eos_token", "bos_token", "pad_token", "unk_token",
                                     "sep_token", "cls_token", "mask_token"};

// A token is named by a string, or by an object that holds it as "content".
void read_names(const json& object, const std::string& where, std::map<std::string, std::string>& names) {
  for (const char* key : name_keys) {
    const json* value = json_find(object, key, where);
    if (value)
      names[key] = value->is_object() ? json_string(*value, "content", where) : json_string(object, key, where);
  }
}

int32_t parse_id(const std::string& text, const std::string& where) {
  int32_t id = -1;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc() || stop != end || id < 0)
    fail(where, ": \"", text.substr(0, 60), "\" among the added tokens is no id");
  return id;
}

// A whole number, but for the huge one, as a float, that transformers writes where there is no limit.
int64_t read_max_length(const json& config, const std::string& where) {
  const double limit = json_number(config, "model_max_length", where, 0);
  if (limit > INT32_MAX || !json_has(config, "model_max_length", where)) return 0;
  if (limit < 1) fail(where, ": \"model_max_length\" is ", limit, ": it should be at least 1");
  return static_cast<int64_t>(limit);
}

void read_config(const json& config, const std::string& where, SpecialNames& special) {
  read_names(config, where, special.names);
  special.has_class = json_has(config, "tokenizer_class", where);
  special.max_length = read_max_length(config, where);
  special.add_prefix_space = json_bool(config, "add_prefix_space", where, false);
  const json* decoder = json_find(config, "added_tokens_decoder", where);
  if (!decoder) return;
  if (!decoder->is_object()) fail(where, ": \"added_tokens_decoder\" should be an object of id: token");
  for (const auto& [id, token] : decoder->items())
    special.added.push_back(read_added_token(token, parse_id(id, where), where));
}

void read_added_ids(const json& ids, const std::string& where, SpecialNames& special) {
  if (!ids.is_object()) fail(where, ": should be an object of token: id");
  std::set<std::string> known;
  for (const AddedToken& token : special.added) known.insert(token.content);
  for (const auto& [content, id] : ids.items())
    if (known.insert(content).second)
      special.added.push_back({.id = static_cast<int32_t>(read_token_id(content, id, where)), .content = content});
}

}  // namespace

int64_t read_token_id(const std::string& token, const json& id, const std::string& where) {
  const bool is_id = id.is_number_integer() && id.get<double>() >= 0 && id.get<double>() <= INT32_MAX;
  if (!is_id)
    fail(where, ": the token ", json(token).dump(-1, ' ', true).substr(0, 60), " should have an id from 0 to ",
         INT32_MAX);
  return id.get<int64_t>();
}

AddedToken read_added_token(const json& token, int32_t id, const std::string& where) {
  const bool special = json_bool(token, "special", where, false);
  return {.id = id,
          .content = json_string(token, "content", where),
          .special = special,
          .single_word = json_bool(token, "single_word", where, false),
          .strip_left = json_bool(token, "lstrip", where, false),
          .strip_right = json_bool(token, "rstrip", where, false),
          .normalized = json_bool(token, "normalized", where, !special)};
}

SpecialNames read_special_names(const std::filesystem::path& folder) {
  SpecialNames special;
  const auto map = folder / "special_tokens_map.json", config = folder / "tokenizer_config.json";
  const auto added = folder / "added_tokens.json";
  if (std::filesystem::exists(map)) read_names(parse_json_file(map), map.string(), special.names);
  if (std::filesystem::exists(config)) read_config(parse_json_file(config), config.string(), special);
  if (std::filesystem::exists(added)) read_added_ids(parse_json_file(added), added.string(), special);
  return special;
}

void SpecialNames::add_to(Vocabulary& vocabulary, const std::string& where) const {
  for (const auto& [key, token] : names) {
    if (vocabulary.find(token) < 0) fail(where, ": ", key, " is \"", token, "\", which is not in the vocabulary");
    vocabulary.add_special(token);
  }
}

void SpecialNames::set_in(Vocabulary& vocabulary, const std::string& where) const {
  const auto id = [&](const char* key, int32_t otherwise) {
    const auto named = names.find(key);
    if (named == names.end()) return otherwise;
    const int32_t found = vocabulary.find(named->second);
    if (found < 0) fail(where, ": ", key, " is \"", named->second, "\", which is not in the vocabulary");
    return found;
  };
  const bool is_roberta = vocabulary.find("<s>") >= 0 && vocabulary.find("</s>") >= 0;
  const int32_t end_of_text = vocabulary.find("<|endoftext|>");
  vocabulary.end = id("eos_token", is_roberta ? vocabulary.find("</s>") : end_of_text);
  vocabulary.begin = id("bos_token", is_roberta ? vocabulary.find("<s>") : end_of_text);
  // RoBERTa's names, else BERT's.
  const auto either = [&](const char* roberta, const char* bert) {
    return vocabulary.find(vocabulary.find(roberta) >= 0 ? roberta : bert);
  };
  vocabulary.pad = id("pad_token", either("<pad>", "[PAD]"));
  vocabulary.mask = id("mask_token", either("<mask>", "[MASK]"));
  vocabulary.classifier = id("cls_token", either("<s>", "[CLS]"));
  vocabulary.separator = id("sep_token", either("</s>", "[SEP]"));
  vocabulary.max_length = max_length;
}

}  // namespace engine
