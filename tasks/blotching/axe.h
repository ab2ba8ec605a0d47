// Axe removes the step of a row that the model misses least. With step j of a row left out, the losses of the tokens
// behind it change. The next steps behind the hole, or all up to the answer, are compared:
//   d[j] = mean loss without step j - mean loss of the same tokens with it;  r[j] = d[j] / the latter
// Both means may be replaced by their exponentials. Of the steps without which each token of the answer is still the
// likeliest, the one with the least d is removed where d < abs_axe_tol and r < rel_axe_tol.
// The row runs once, into a slot of a decoding state. A trial goes on from a copy of it at the = before the hole, so
// that only what comes behind the hole runs again. A model without attention cannot copy the beginning of a slot, and
// runs each trial whole.
#pragma once

#include <functional>

#include "models/cached_scorer.h"
#include "tasks/blotching/rows.h"

namespace engine {

// The losses of a row with all its steps, and of its trials. Losses are those of the tokens behind the problem's =, or
// behind the hole, the end token's last.
struct AxeScores {
  struct Trial {
    std::vector<float> losses;
    bool is_answer_right = false;  // all its tokens are the likeliest
  };
  std::vector<float> losses;
  std::vector<Trial> trials;  // one for each step
};

class AxeScorer {
 public:
  AxeScorer(Ops& ops, Model& model, DType compute, const RowFormat& format);

  std::vector<AxeScores> score(std::span<const std::string> rows, int level);

 private:
  void score_some(std::span<const std::string> rows, int level, const DecodeSizes& sizes,
                  std::vector<AxeScores>& all);

  CachedScorer scorer_;
  bool copies_;  // the beginning of a row
  const RowFormat& format_;
};

struct AxeChoice {
  int32_t step = -1;  // that is removed; -1: none
  double difference = 0, ratio = 0;
};
AxeChoice choose_step(std::string_view row, const AxeScores& scores, const BlotchingConfig& config);

}  // namespace engine
