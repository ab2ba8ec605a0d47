#include "tasks/mlm/masking.h"

#include <algorithm>

#include "core/error.h"

namespace engine {

Masking::Masking(const Tokenizer& tokenizer, double share) : share_(share), mask_token_(tokenizer.mask_token()) {
  if (mask_token_ < 0) fail_usage("the tokenizer has no mask token ([MASK] or <mask>), which task mlm needs");
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    is_special_.push_back(tokenizer.is_special(id));
    if (!is_special_.back()) ordinary_.push_back(id);
  }
  if (ordinary_.empty()) fail_usage("the tokenizer has nothing but special tokens");
}

void Masking::apply(std::span<int32_t> tokens, std::span<int32_t> labels, Random& random) {
  candidates_.clear();
  for (size_t i = 0; i < tokens.size(); ++i)
    if (is_candidate(tokens[i])) candidates_.push_back(i);
  std::fill(labels.begin(), labels.end(), -100);
  if (candidates_.empty()) return;
  const auto all = static_cast<uint32_t>(candidates_.size());
  const auto count = std::max<uint32_t>(1, static_cast<uint32_t>(share_ * static_cast<double>(all)));
  for (uint32_t chosen = 0; chosen < count; ++chosen) {
    // These are the first places of a shuffle.
    std::swap(candidates_[chosen], candidates_[chosen + random.below(all - chosen)]);
    const size_t at = candidates_[chosen];
    labels[at] = tokens[at];
    const uint32_t tenth = random.below(10), drawn = random.below(static_cast<uint32_t>(ordinary_.size()));
    if (tenth < 8) tokens[at] = mask_token_;
    else if (tenth == 8) tokens[at] = ordinary_[drawn];
  }
}

}  // namespace engine
