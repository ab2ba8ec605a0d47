// The files of a vocabulary: vocab.json, merges.txt, vocab.txt, and the same inside a tokenizer.json.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "text/bpe_merges.h"
#include "text/vocabulary.h"

namespace engine {

using TokenIds = std::vector<std::pair<std::string, int64_t>>;

// Reads an object of token: id. `where` names the file in errors.
TokenIds read_vocab_json(const nlohmann::json& vocab, const std::string& where);
// Reads vocab.txt: a token a line, whose number from 0 is the id. White space at a line's end is no part of the token;
// of a token that stands twice the last line counts, and the id of the other is a gap, as `tokenizers` has it.
TokenIds read_vocab_txt(const std::filesystem::path& file);

// Read the merges, whose tokens are those of the vocabulary. An Error names the line or the number of the merge.
BpeMerges read_merges_txt(const Vocabulary& vocabulary, const std::filesystem::path& file);
BpeMerges read_merges_json(const Vocabulary& vocabulary, const nlohmann::json& list, const std::string& where);

}  // namespace engine
