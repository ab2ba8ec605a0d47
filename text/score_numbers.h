// Scores of a Unigram model in a tokenizer.json. `tokenizers` reads decimals fast and not always exactly, which shows
// where two ways to spell a word have the same sum, as in a row of equal characters.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace engine {

// Returns the number that `tokenizers` reads: up to 19 digits as a whole number, rounded, then multiplied or divided by
// a power of ten, rounded again. Nothing where it is out of range.
std::optional<double> read_score(std::string_view decimal);

// Writes a number so that read_score gives it. For a few numbers it gives the next one, which is then written the same.
std::string write_score(double score);

// Returns the texts of the numbers with a fraction or exponent in model.vocab of a tokenizer.json, in order.
std::vector<std::string> vocabulary_decimals(std::string_view tokenizer_json);

}  // namespace engine
