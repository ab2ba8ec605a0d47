// A token from each row of logits, by given uniform numbers.
//
// temperature 0: the largest logit. Otherwise, with w_v = e^((l_v - largest) / temperature), tokens ordered by falling
// logit and, among equals, rising token:
//   1. top_k > 0 keeps the first top_k of them (all, where there are no more);
//   2. top_p < 1 keeps, of those, the fewest first ones whose w sum to at least top_p of what step 1 kept; at least
//   one;
//   3. token = the first, in the order of the vocabulary, at which the running sum of kept w exceeds draw sum(kept w).
// Among equal largest logits temperature 0 and top_k 1 take the lowest token.
//
// Written: tokens. Numerics: weights are f32, their sums double. Logits of -infinity are never drawn. A row that holds
// a NaN, or whose largest logit is not finite, is an error that names it; on a device its token is 0, and the error
// comes when results are next read.
//
// The CPU sorts only few tokens. The candidates of top_k are those above the k-th largest of the maxima of groups of 64
// tokens (no fewer than k tokens are). Those of top_p are the tokens with w >= (1 - top_p) sum(w) / V (all others
// together have less than 1 - top_p).
#pragma once

#include "kernels/arguments.h"

namespace engine {

struct SampleArgs {
  Tensor logits;          // f32 [S, V]
  Tensor draws;           // f32 [S] in [0, 1); optional where temperature is 0
  float temperature = 0;  // 0: the largest logit
  int top_k = 0;          // 0: all tokens
  float top_p = 1;        // 1: all tokens
  Tensor tokens;          // i32 [S], =

  template <class Each>
  void each_tensor(const Each& each) {
    each("logits", logits, Role::input);
    each("draws", draws, Role::input);
    each("tokens", tokens, Role::output);
  }
};

// Checks that the arguments fit one another.
void check_sample(const SampleArgs&);

}  // namespace engine
