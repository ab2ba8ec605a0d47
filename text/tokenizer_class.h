// The class of transformers that would read a folder's tokenizer. It decides what of the folder counts.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace engine {

enum class TokenizerClass {
  whole_file,  // reads a tokenizer.json as it stands
  bert,        // like those below, takes the vocabulary alone
  distilbert,
  gpt2,
  roberta,
  gpt_neox,
  xlm_roberta,  // these take the pieces of a Unigram model
  albert,
  t5,
  rembert,
  other,  // known to transformers, not read here
};

struct ClassOfFolder {
  TokenizerClass kind = TokenizerClass::whole_file;
  std::string name;  // empty: the folder names no class and no model that transformers knows
};

// Makes AutoTokenizer's choice from the "tokenizer_class" of tokenizer_config.json, else that of config.json, else the
// "model_type" of the latter. Each is null where there is no such file. An Error names a class that is not read here.
ClassOfFolder class_of_folder(const nlohmann::json& tokenizer_config, const nlohmann::json& config,
                              const std::string& folder);

// Says whether the models of the class are given token types unless tokenizer_config.json says otherwise.
bool gives_token_types(TokenizerClass kind);

}  // namespace engine
