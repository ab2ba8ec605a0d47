// The files beside a vocabulary: tokenizer_config.json, special_tokens_map.json and added_tokens.json, read as
// transformers reads them.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer_class.h"
#include "text/vocabulary.h"

namespace engine {

// A token as a file gives it: its text alone, or an object with its flags.
struct GivenToken {
  AddedToken token;
  bool is_text = true;

  bool operator==(const GivenToken&) const = default;
};
using NamedTokens = std::vector<std::pair<std::string, GivenToken>>;

struct TokenizerConfig {
  ClassOfFolder of;
  bool is_guessed = false;               // the kind of the class comes from the vocabulary's files
  std::set<std::string> usual_names;     // keys of `names` that no file gives
  NamedTokens names;                     // eos_token, pad_token, ...: with the class's own where the files name none
  NamedTokens model_names;               // image_token, ...
  std::vector<GivenToken> extra;         // extra_special_tokens
  std::map<int64_t, AddedToken> added;   // by the ids that the files give
  std::optional<bool> lowers_case, strips_accents, spaces_chinese, add_prefix_space, trim_offsets,
      keeps_accents;
  bool adds_begin = false, adds_end = false;  // add_bos_token, add_eos_token
  int64_t extra_ids = 100;                    // T5's tokens for gaps
  bool cleans_up_bpe = false;                 // decoded text of a BPE, too
  TokenizerTraits traits;

  const AddedToken* named(const std::string& key) const;  // or nullptr
};

// `tokenizer_json` is nullptr where the folder has none; a folder that then names no class is read as one of class
// `otherwise`. An Error names file and key. `pieces` are a SentencePiece model's that are added tokens.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder, const nlohmann::json* tokenizer_json,
                                      TokenizerClass otherwise, const std::vector<AddedToken>& pieces = {});

// Reads the settings of single classes.
void read_class_settings(const nlohmann::ordered_json& settings, const std::filesystem::path& folder,
                         TokenizerConfig& config);
// Reads the settings that name no tokens. `settings` are those of all files.
void read_traits(const nlohmann::ordered_json& settings, const nlohmann::json* tokenizer_json,
                 const std::filesystem::path& folder, TokenizerConfig& config);

// Returns the tokens that the files add to a vocabulary which has `known` added tokens already, in order.
std::vector<AddedToken> tokens_to_add(const TokenizerConfig& config, const std::vector<AddedToken>& known);

// Reads the entry of an object of token: id.
int64_t read_token_id(const std::string& token, const nlohmann::json& id, const std::string& where);
AddedToken read_added_token(const nlohmann::json& token, const std::string& where);
std::vector<AddedToken> read_added_tokens(const nlohmann::json& tokenizer_json, const std::string& where);

}  // namespace engine
