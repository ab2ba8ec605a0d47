// The specification of kernels/sampling/rank.h in plain loops.
#pragma once

#include <cmath>
#include <vector>

namespace engine::reference {

template <class T>
int rank(const std::vector<T>& logits, size_t token) {
  const T own = logits[token];
  int above = 0;
  for (const T& logit : logits)
    if (!std::isnan(logit) && (std::isnan(own) || logit > own)) ++above;
  return 1 + above;
}

}  // namespace engine::reference
