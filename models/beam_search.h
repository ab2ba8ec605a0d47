// Beam search: of each prompt the `beams` likeliest beginnings are kept and continued, and of the texts that ended the
// ones with the best score, the sum of their tokens' log probabilities over (number of new tokens)^length_penalty.
// As the transformers library does it, so that the results are the same:
//   - of all continuations of all beams the likeliest are looked at, 2 `beams` or (1 + end tokens) `beams` of them;
//     those among the first `beams` that end (with an end token, or at the limit) are candidates for the result, and of
//     those that do not end `beams` go on
//   - a search is over when `beams` texts have ended and early_stopping is set, or the likeliest beam, had it ended
//     now, would not be better than the worst of them; or at the limit
#pragma once

#include "models/generation.h"

namespace engine {

struct BeamResult {
  std::vector<int32_t> tokens;  // the new ones
  float score = 0;
};

// options.beams >= 2. Searches for as many prompts at once as have room in max_sequences sequences (at least one).
std::vector<BeamResult> beam_search(CachedDecoder& decoder, std::span<const std::vector<int32_t>> prompts,
                                    std::span<const std::vector<int32_t>> sources, const GenerationOptions& options,
                                    size_t max_sequences);

}  // namespace engine
