// Generation: tokens drawn one after another with a key/value cache, many sequences of different lengths at once.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "models/causal_model.h"

namespace engine {

struct GenerationOptions {
  float temperature = 0;  // 0: greedy
  int top_k = 0;          // 0: all
  float top_p = 1;
  int max_new_tokens = 128;
  uint64_t seed = 1;
  int32_t end_token = -1;  // a sequence ends with it (it is part of the result); -1: none
};

class Generator {
 public:
  // Keeps weights packed and caches for up to max_sequences at once while it lives; the model must not be trained
  // meanwhile (call refresh after an update). Sequences are as long as the model's positions at most.
  Generator(Ops& ops, CausalModel& model, DType compute, int max_sequences = 64);
  ~Generator();

  // For each prompt (at least one token) its new tokens. Sequences leave as they end and waiting prompts take their
  // places; what a sequence draws depends on the seed, its index and its position alone, not on its neighbours.
  // on_token (optional): called for each new token with the prompt's index.
  std::vector<std::vector<int32_t>> generate(std::span<const std::vector<int32_t>> prompts,
                                             const GenerationOptions& options,
                                             const std::function<void(size_t, int32_t)>& on_token = {});
  void refresh();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace engine
