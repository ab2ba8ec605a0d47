// What the files beside a vocabulary say of its special tokens: tokenizer_config.json, special_tokens_map.json and
// added_tokens.json, each where it is there.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "text/vocabulary.h"

namespace engine {

struct SpecialNames {
  std::map<std::string, std::string> names;  // "eos_token": "</s>", ...
  std::vector<AddedToken> added;             // with ids
  bool add_prefix_space = false;
  bool has_class = false;  // tokenizer_config.json names the class of the tokenizer
  int64_t max_length = 0;  // its model_max_length; 0: none

  // The named tokens as special tokens of a vocabulary that has them; an Error names one that it does not have.
  void add_to(Vocabulary& vocabulary, const std::string& where) const;
  // Which tokens end, begin and fill a document: as named; without names as RoBERTa's or GPT-2's vocabulary has them.
  // And how long a sequence may be.
  void set_in(Vocabulary& vocabulary, const std::string& where) const;
};

SpecialNames read_special_names(const std::filesystem::path& folder);
// An entry of an object of token: id.
int64_t read_token_id(const std::string& token, const nlohmann::json& id, const std::string& where);
AddedToken read_added_token(const nlohmann::json& token, int32_t id, const std::string& where);

}  // namespace engine
