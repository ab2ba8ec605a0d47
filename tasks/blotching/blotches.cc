#include "tasks/blotching/blotches.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace engine {

BlotchLevels::BlotchLevels(const BlotchingConfig& config) : has_tokens_(config.has_levels()) {
  if (!has_tokens_) {
    shares_ = {config.blotch_p};
    return;
  }
  const double least = std::max(config.blotch_p_min, 0.0), span = config.blotch_p_max - least;
  int64_t count = config.n_btokens;
  if (const int64_t granularity = config.blotch_granularity) {
    const auto parts = static_cast<double>(granularity);
    if (config.blotch_p_min > 0)
      fail_usage("blotching.blotch_p_min is ", config.blotch_p_min, ", but with blotching.blotch_granularity the least "
                 "share is 0: leave one of them out");
    if (count > 0 && config.blotch_p_max >= 0)
      fail_usage("blotching.blotch_p_max is ", config.blotch_p_max, ", but blotching.n_btokens and "
                 "blotching.blotch_granularity make the last share ", count - 1, " / ", granularity,
                 ": leave one of the three out");
    if (count == 0) {
      if (config.blotch_p_max < 0)
        fail_usage("blotching.blotch_granularity needs blotching.n_btokens or blotching.blotch_p_max");
      count = std::max<int64_t>(static_cast<int64_t>(config.blotch_p_max * parts + 0.001) + 1, 2);
    }
    for (int64_t b = 0; b < count; ++b) shares_.push_back(static_cast<double>(b) / parts);
    if (shares_.back() > 1)
      fail_usage("blotching.n_btokens is ", count, ", whose last share would be ", count - 1, " / ", granularity,
                 " with blotching.blotch_granularity: no share is above 1");
    return;
  }
  if (config.blotch_p_max < 0)
    fail_usage("blotching.blotch_p_max is missing: a model with blotch tokens has shares up to it");
  if (span < 0)
    fail_usage("blotching.blotch_p_min is ", least, ", above blotching.blotch_p_max = ", config.blotch_p_max);
  if (span == 0 && count > 1)
    fail_usage("blotching.n_btokens is ", count, ", but all of their shares would be blotching.blotch_p_max = ", least,
               ": set a smaller blotching.blotch_p_min, or leave n_btokens out");
  if (count == 0) count = std::max<int64_t>(1, std::llround(span / 0.1));
  for (int64_t b = 0; b < count; ++b)
    shares_.push_back(count == 1 ? least : least + span * static_cast<double>(b) / static_cast<double>(count - 1));
}

int BlotchLevels::nearest(double share) const {
  const auto nearer = [share](double a, double b) { return std::abs(a - share) < std::abs(b - share); };
  return share < 0 ? 0 : static_cast<int>(std::min_element(shares_.begin(), shares_.end(), nearer) - shares_.begin());
}

std::vector<std::string> BlotchLevels::tokens() const {
  std::vector<std::string> tokens;
  for (int level = 0; has_tokens_ && level < count(); ++level)
    tokens.push_back("<blotch_" + std::to_string(level) + ">");
  return tokens;
}

void Blotcher::choose(Random& random, double share, size_t steps, std::vector<bool>& left_out) const {
  left_out.assign(steps, false);
  if (!is_equal_) {
    for (size_t step = 0; step < steps; ++step) {
      const bool may_go = is_contiguous_ || step == 0 || !left_out[step - 1];
      left_out[step] = may_go && static_cast<double>(random.uniform()) < share;
    }
    return;
  }
  auto count = static_cast<size_t>(std::llround(share * static_cast<double>(steps)));
  if (!is_contiguous_ && 2 * count > steps) {
    // As many as fit are every second one.
    for (size_t step = 0; step < steps; step += 2) left_out[step] = true;
    return;
  }
  for (size_t i = 0; i < count; ++i) left_out[(2 * i + 1) * steps / (2 * count)] = true;
}

}  // namespace engine
