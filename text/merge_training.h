// Learns merges from counted words (Sennrich, Haddow, Birch 2016): the pair of neighbours that comes most often becomes
// a token, then the most frequent of the new pairs, and so on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_merges.h"

namespace engine {

struct CountedWord {
  std::vector<int32_t> tokens;  // indices in the vocabulary
  int64_t count;
};

struct MergeTraining {
  size_t vocab_size;
  int64_t min_frequency = 2;  // least count of a merged pair
  std::string_view prefix;    // begins tokens inside a word; merges drop it
};

// Adds tokens to `vocabulary` until it has vocab_size or no pair comes min_frequency times. Returns the merges in
// order. If pairs come equally often, the one whose first token has the lower id is taken, then the one whose second
// has. Only the words of a pair are looked at when it becomes a token, so time grows with the number of changes.
std::vector<BpeMerges::Merge> train_merges(std::vector<CountedWord> words, std::vector<std::string>& vocabulary,
                                           const MergeTraining& training);

}  // namespace engine
