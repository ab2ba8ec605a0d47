// The loss of a token may be its expectation over asking for thoughts or not ("Catch Your Breath", arXiv 2510.13879).
// Thoughts T_1 ... T_n may stand between the tokens t and u. Position 0 reads t and position k reads T_k. At each
// position the model may ask for a thought, with the probability a_k that it gives to one as the next token. Else it
// predicts u, with the probability p_k(u) / (1 - a_k), for a thought is no text:
//   l_k = -log p_k(u) + log(1 - a_k)
//   E_k = (1 - a_k) l_k + a_k E_(k+1),   E_n = l_n
// The loss of u is E_0, and of a token without thoughts before it l_0. With r_k = a_0 ... a_(k-1), how likely the model
// is to come to position k,
//   dE_0 = sum_(k<n) r_k ((1 - a_k) dl_k + (E_(k+1) - l_k) da_k) + r_n dl_n
// Since dl_k = d(-log p_k(u)) - d(-log(1 - a_k)) and da_k = (1 - a_k) d(-log(1 - a_k)), this is the gradient of a cross
// entropy with the label u in each position and a penalty on the thought (kernels/losses/cross_entropy.h), of which the
// weights count as constants:
//   weight  r_k (1 - a_k)                        r_n at position n
//   penalty r_k (1 - a_k) (E_(k+1) - l_k - 1)    -r_n
// They come from a run without gradients and dropout, by the model as it is.
#pragma once

#include <span>
#include <vector>

#include "models/cached_scorer.h"
#include "training/task.h"

namespace engine {

struct ExpectedLoss {
  double loss = 0, targets = 0;  // sums
};

// Appends the sequences, each of at least 2 tokens, with these targets. Every rank runs its share, and has all.
ExpectedLoss append_expected(Machine& machine, CachedScorer& scorer, int32_t thought,
                             std::span<const std::vector<int32_t>> sequences, SequenceBatch& batch);

}  // namespace engine
