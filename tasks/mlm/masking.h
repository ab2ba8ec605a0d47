// Masks follow BERT's pretraining (Devlin et al. 2018). A model is to predict max(1, floor(share n)) of the n tokens of
// a sequence. 80 % of these are replaced by the mask token, 10 % by a random token, and 10 % stay as they are. Special
// tokens are neither chosen nor put in.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"
#include "text/tokenizer.h"

namespace engine {

class Masking {
 public:
  // Throws a UsageError where the tokenizer has no mask token, or no token that stands for text.
  Masking(const Tokenizer& tokenizer, double share);

  // Tells whether a token may be masked, because it stands for text.
  bool is_candidate(int32_t token) const { return !is_special_[static_cast<size_t>(token)]; }
  // Masks `tokens` in place. labels[i] becomes the token that was there, or -100. Nothing is masked where all tokens
  // are special.
  void apply(std::span<int32_t> tokens, std::span<int32_t> labels, Random& random);

 private:
  double share_;
  int32_t mask_token_;
  std::vector<bool> is_special_;
  std::vector<int32_t> ordinary_;   // tokens that are not special
  std::vector<size_t> candidates_;  // positions that may be chosen
};

}  // namespace engine
