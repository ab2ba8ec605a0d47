// Unigram in a tokenizer.json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "text/unigram_tokenizer.h"
#include "text/vocabulary_files.h"

namespace engine {

// Reads a list of [token, score], whose places are the ids. With the text of the file the scores are those that
// `tokenizers` reads in it (text/score_numbers.h), else the exact ones.
TokenIds read_unigram_vocab(const nlohmann::json& vocab, const std::string* text, const std::string& where,
                            std::vector<double>& scores);

// The files that save() writes.
TokenizerFiles unigram_files(const Vocabulary& vocabulary, const std::vector<double>& scores,
                             const Normalizer& normalizer, const UnigramSettings& settings);

}  // namespace engine
