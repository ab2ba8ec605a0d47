// Reads the settings of a tokenizer_config.json that name no tokens.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "text/tokenizer_config.h"

namespace engine {

using nlohmann::json;
using nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

// Reads a whole number. transformers writes a huge one, as a float, if there is no limit. The older name of the key is
// max_len.
int64_t read_max_length(const json& settings, const std::string& where) {
  const char* const key = settings.contains("model_max_length") ? "model_max_length" : "max_len";
  if (!json_has(settings, key, where)) return 0;
  const double limit = json_number(settings, key, where, 0);
  if (limit > INT32_MAX) return 0;
  if (limit < 1) fail(where, ": \"", key, "\" is ", limit, ": it should be at least 1");
  return static_cast<int64_t>(limit);
}

std::optional<bool> read_optional(const json& settings, const char* key, const std::string& where) {
  if (!json_has(settings, key, where)) return std::nullopt;
  return json_bool(settings, key, where);
}

// Returns "left" or "right". If the config says nothing, tokenizer.json decides ("Left").
std::string read_side(const json& settings, const char* key, const json* tokenizer_json, const char* part,
                      const std::string& where) {
  std::string otherwise = "right";
  const json* const own = tokenizer_json ? json_find(*tokenizer_json, part, where) : nullptr;
  if (own && json_string(*own, "direction", where, "Right") == "Left") otherwise = "left";
  const std::string side = json_string(settings, key, where, otherwise);
  if (side != "left" && side != "right")
    fail(where, ": \"", key, "\" is \"", side.substr(0, 60), "\", it should be \"left\" or \"right\"");
  return side;
}

bool names_token_types(const json& settings, const std::string& where, bool otherwise) {
  const json* const names = json_find(settings, "model_input_names", where);
  if (!names) return otherwise;
  if (!names->is_array()) fail(where, ": \"model_input_names\" should be a list");
  return std::find(names->begin(), names->end(), "token_type_ids") != names->end();
}

// A saved folder writes these keys in its own way, or leaves them out because they told where the files were.
constexpr const char* rewritten_keys[] = {
    "tokenizer_class", "model_specific_special_tokens", "extra_special_tokens", "additional_special_tokens",
    "added_tokens_decoder", "do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space",
    "trim_offsets", "add_bos_token", "add_eos_token", "model_max_length", "max_len", "truncation_side", "padding_side",
    "model_input_names", "split_special_tokens", "clean_up_tokenization_spaces", "bos_token", "eos_token", "unk_token",
    "sep_token", "pad_token", "cls_token", "mask_token", "files_loaded", "backend", "name_or_path", "is_local",
    "local_files_only", "tokenizer_file", "special_tokens_map_file", "vocab_file", "merges_file", "auto_map",
    "init_inputs", "fast_tokenizer_files", "keep_accents", "extra_ids", "unk_id", "remove_space", "sp_model_kwargs"};

}  // namespace

void read_class_settings(const ordered_json& all, const fs::path& folder, TokenizerConfig& config) {
  const std::string where = (folder / "tokenizer_config.json").string();
  const json settings(all);
  config.keeps_accents = read_optional(settings, "keep_accents", where);
  config.extra_ids = json_integer(settings, "extra_ids", where, 0, 10000, 100);
}

void read_traits(const ordered_json& all, const json* tokenizer_json, const fs::path& folder,
                 TokenizerConfig& config) {
  const std::string where = (folder / "tokenizer_config.json").string();
  const json settings(all);
  config.lowers_case = read_optional(settings, "do_lower_case", where);
  config.strips_accents = read_optional(settings, "strip_accents", where);
  config.spaces_chinese = read_optional(settings, "tokenize_chinese_chars", where);
  config.add_prefix_space = read_optional(settings, "add_prefix_space", where);
  config.trim_offsets = read_optional(settings, "trim_offsets", where);
  if (!tokenizer_json) {
    config.adds_begin = json_bool(settings, "add_bos_token", where, false);
    config.adds_end = json_bool(settings, "add_eos_token", where, false);
  }
  config.cleans_up_bpe =
      json_bool(settings, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", where, false);
  TokenizerTraits& traits = config.traits;
  traits.max_length = read_max_length(settings, where);
  traits.token_types = names_token_types(settings, where, gives_token_types(config.of.kind));
  traits.truncates_left = read_side(settings, "truncation_side", tokenizer_json, "truncation", where) == "left";
  traits.splits_special = json_bool(settings, "split_special_tokens", where, false);
  traits.cleans_up = json_bool(settings, "clean_up_tokenization_spaces", where, false);
  for (const GivenToken& token : config.extra) traits.extra.push_back(token.token.content);

  ordered_json passed_on = all;
  for (const auto& [key, token] : config.model_names) passed_on.erase(key);
  for (const char* key : rewritten_keys) passed_on.erase(key);
  if (read_side(settings, "padding_side", tokenizer_json, "padding", where) == "left")
    passed_on["padding_side"] = "left";
  traits.passed_on = passed_on.dump();
}

}  // namespace engine
