// Beam search keeps and continues the `beams` likeliest beginnings of each prompt. Of the texts that ended it returns
// the one with the best score, which is the sum of their tokens' log probabilities over (number of new
// tokens)^length_penalty. It follows the transformers library, so that the results are the same:
//   - A step looks at the likeliest continuations of all beams, 2 `beams` or (1 + end tokens) `beams` of them. Those
//     among the first `beams` that end (with an end token, or at the limit) are candidates for the result. The first
//     `beams` that do not end go on.
//   - A search is over when `beams` texts have ended and either early_stopping is set or the likeliest beam, had it
//     ended now, would not be better than the worst of them. It is also over at the limit.
#pragma once

#include "models/generation.h"

namespace engine {

struct BeamResult {
  std::vector<int32_t> tokens;  // new tokens only
  float score = 0;
};

// Requires options.beams >= 2. Searches for as many prompts at once as fit into max_sequences sequences (at least one).
std::vector<BeamResult> beam_search(CachedDecoder& decoder, std::span<const std::vector<int32_t>> prompts,
                                    std::span<const std::vector<int32_t>> sources, const GenerationOptions& options,
                                    size_t max_sequences);

}  // namespace engine
