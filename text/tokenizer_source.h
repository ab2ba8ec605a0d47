// The loaders of all kinds of tokenizers share this: a folder's files, and the parts that are made for every kind.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_config.h"
#include "text/vocabulary_files.h"

namespace engine {

// A folder's files, parsed as far as all kinds of tokenizers need them.
struct TokenizerSource {
  std::filesystem::path folder;
  std::string where;           // the vocabulary's file, for messages
  nlohmann::json root;         // tokenizer.json; null: there is none
  TokenIds tokens;             // the model's
  std::vector<double> scores;  // a Unigram model's, by id
  TokenizerConfig config;
  LoadOptions options;
  std::string charsmap;        // a SentencePiece model's table of replacements

  bool is_whole_file() const { return config.of.kind == TokenizerClass::whole_file; }
  const nlohmann::json* part(const char* key) const { return root.is_null() ? nullptr : json_find(root, key, where); }
};

// Makes the vocabulary with the added tokens of all files.
Vocabulary make_vocabulary(const TokenizerSource& source);
// Sets the template and the trims of offsets as the class has them, else as tokenizer.json's post-processor.
void set_framing(const TokenizerSource& source, bool add_prefix_space, Vocabulary& vocabulary);

std::unique_ptr<Tokenizer> load_unigram(const TokenizerSource& source);

}  // namespace engine
