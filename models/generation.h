// Generation draws tokens one after another with a KV cache, for many sequences of different lengths at once.
#pragma once

#include <algorithm>
#include <functional>

#include "models/cached_decoder.h"

namespace engine {

// A token that is no text, such as a thought. It does not count towards max_new_tokens, and only so many may follow one
// another.
struct UncountedToken {
  int32_t token = -1;  // -1: none
  int most_in_a_row = 0;
};

struct GenerationOptions {
  float temperature = 0;  // 0: greedy
  int top_k = 0;          // 0: all
  float top_p = 1;
  int max_new_tokens = 128;
  uint64_t seed = 1;
  size_t first_index = 0;  // draws count the prompts from here on
  std::vector<int32_t> end_tokens = {};  // each ends a sequence and is part of the result
  int32_t first_token = -1, last_token = -1;  // forced tokens: the first behind a prompt of one token, the last at
                                              // the limit of tokens; -1: none
  UncountedToken uncounted = {};  // without beams
  // Beam search runs where beams > 1 (see beam_search.h). temperature is 0 then.
  int beams = 1;
  float length_penalty = 1;
  bool early_stopping = false;

  bool ends(int32_t token) const { return std::find(end_tokens.begin(), end_tokens.end(), token) != end_tokens.end(); }
};

class Generator {
 public:
  // Generates for up to max_sequences sequences at once, each as long as the model's positions at most. The model may
  // be trained between two calls.
  Generator(Ops& ops, Model& model, DType compute, int max_sequences = 64);
  ~Generator();

  // Returns the new tokens of each prompt, which has at least one token. Sequences leave as they end, and waiting
  // prompts take their slots. A sequence's draws depend on the seed, its index and its position alone, not on its
  // neighbours. Calls on_token (optional) for each new token with the prompt's index.
  std::vector<std::vector<int32_t>> generate(std::span<const std::vector<int32_t>> prompts,
                                             const GenerationOptions& options,
                                             const std::function<void(size_t, int32_t)>& on_token = {});
  // Generates with an encoder-decoder. The encoder reads each source once, when its turn comes. A prompt is the
  // beginning of the target, with the start token.
  std::vector<std::vector<int32_t>> generate(std::span<const std::vector<int32_t>> prompts,
                                             std::span<const std::vector<int32_t>> sources,
                                             const GenerationOptions& options,
                                             const std::function<void(size_t, int32_t)>& on_token = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Returns how many tokens a prompt may gain, uncounted ones included.
int64_t tokens_to_gain(const ModelConfig& config, std::span<const int32_t> prompt, const GenerationOptions& options);

}  // namespace engine
